"""The floors are kept, and the check would see it if they were not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package import floors

ROOT = Path(__file__).resolve().parents[2]


def test_the_house_keeps_its_floors():
    assert len(floors.sources(ROOT)) > 50
    assert floors.check(ROOT) == []


def test_the_report_counts_every_folder():
    text = floors.report(ROOT)
    for folder in ("csrc/formulas", "csrc/python", "ebmlib", "tests", "all"):
        assert f"\n{folder} " in f"\n{text}"


def test_kernels_of_cuda_know_nothing_above_them(house):
    path = house / "cuda" / "move.cu"
    path.parent.mkdir()
    (house / "cuda" / "kernels.h").write_text("int a;\n")
    path.write_text('#include "kernels.h"\n#include "graph/graph.h"\n')
    assert floors.check(house) == []
    (house / "csrc" / "networks").mkdir()
    (house / "csrc" / "networks" / "network.h").write_text("int a;\n")
    path.write_text('#include "networks/network.h"\n')
    (message,) = floors.check(house)
    assert message.startswith("cuda/move.cu:1: cuda/ may not include networks/network.h")


@pytest.fixture
def house(tmp_path):
    """A small house without a fault."""
    files = {
        "csrc/base/status.h": "int ebm_status;\n",
        "csrc/graph/graph.h": '#include "base/status.h"\n',
        "csrc/ops/ops.h": '#include "graph/graph.h"\n',
        "csrc/plan/plan.h": '#include "graph/graph.h"\n#include <stddef.h>\n',
        "csrc/cpu/move.c": '#include "graph/graph.h"\n#include "base/status.h"\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert floors.check(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        ("base/a.c", '\n#include "graph/graph.h"\n', 2, "base/ may not include graph/graph.h"),
        ("plan/a.c", '#include "ops/ops.h"\n', 1, "plan/ may not include ops/ops.h"),
        ("ops/a.c", '  #  include "plan/plan.h"\n', 1, "ops/ may not include plan/plan.h"),
        ("base/a.c", '#include "status.h"\n', 1, "includes are written from csrc"),
        ("attic/a.c", "int a;\n", 1, "attic/ stands on no floor"),
        ("plan/a.c", '#include "cuda/kernels.h"\n', 1, "includes are written from csrc"),
        ("base/a.c", "int a;\n" * 801, 801, "801 lines, at most 800"),
        ("base/a.c", "int f(void)\n{\n" + "    ;\n" * 81 + "}\n", 2, "int f(void): 81 lines"),
    ],
)
def test_a_violation_is_found(house, name, text, line, words):
    path = house / "csrc" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (message,) = floors.check(house)
    assert message.startswith(f"csrc/{name}:{line}: ")
    assert words in message


def test_what_is_just_short_enough_passes(house):
    body = "int f(void)\n{\n" + "    ;\n" * 80 + "}\n"
    (house / "csrc/base/a.c").write_text(body + "\n" * (800 - body.count("\n")))
    assert floors.check(house) == []
