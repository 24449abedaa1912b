"""Every public C function that may allocate is made to run out of memory by a test.

What may allocate is read from the sources: a function that calls the allocator, or one that
does, or calls through a pointer to a device or a kind.  Tests that make allocations fail are
those that say `ebm__alloc_fail_after`; what they call, and what that calls, is tested.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
TESTS = ROOT / "tests" / "c"
ALLOCATORS = {"ebm__alloc", "ebm__grow", "ebm__strdup"}
INDIRECT = re.compile(r"(?:->|\.)(alloc|build|generate|init|step)\(")
FILLED = re.compile(r"\.(alloc|build|generate|init|step) = (\w+)")

DEFINITION = re.compile(r"^(?:static )?[\w \*]+?\b(\w+)\([^;{}]*\)\n\{\n(.*?)^\}", re.M | re.S)
PROTOTYPE = re.compile(
    r"^(?!static|typedef|#)[\w \*]+?\b(ebm_[a-z]\w*)\([^;{}]*?\)[^;{}]*;", re.M
)


def plain(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)


def calls(paths: Iterable[Path]) -> dict[str, set[str]]:
    """What each function calls; statics are known as file:name, where a name is not public."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        definitions = DEFINITION.findall(plain(path))
        own = {name for name, _ in definitions if not name.startswith("ebm_")}
        for name, body in definitions:
            key = f"{path}:{name}" if name in own else name
            for called in re.findall(r"\b(\w+)\b", body):
                if called in own:
                    found[key].add(f"{path}:{called}")
                elif called.startswith("ebm_"):
                    found[key].add(called)
            found[key] |= {f"*:{called}" for called in INDIRECT.findall(body)}
        for field, name in FILLED.findall(plain(path)):  # what a call through it may reach
            found[f"*:{field}"].add(f"{path}:{name}" if name in own else name)
    found["*:alloc"].add("ebm__alloc")
    return found


def sources() -> list[Path]:
    return [p for p in sorted(CSRC.rglob("*.c")) if p.parent.name not in ("python", "cpu")]


def allocating() -> set[str]:
    graph, reached = calls(sources()), set(ALLOCATORS)
    while True:
        more = {f for f, called in graph.items() if called & reached} - reached
        if not more:
            return reached
        reached |= more


def run_without_memory() -> set[str]:
    """What runs while allocations fail."""
    tests = sorted(TESTS.glob("test_*.c"))
    graph, bodies = calls([*sources(), *tests]), []
    for path in tests:
        text = plain(path)
        own = {name for name, _ in DEFINITION.findall(text)}
        for body in re.findall(r"^TEST\(\w+\)\n\{\n(.*?)^\}", text, re.M | re.S):
            if "ebm__alloc_fail_after" in body or "fail_each(" in body:
                names = set(re.findall(r"\b(\w+)\b", body))
                bodies += [f"{path}:{n}" for n in names & own] + [*names]
    reached, todo = set(), bodies
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += graph.get(name, ())
    return reached


def public() -> dict[str, str]:
    """Public functions and their headers; the builders of ops.h are tested by their rows."""
    found = {}
    for path in sorted(CSRC.rglob("*.h")):
        if path.parent.name in ("python", "cpu", "ops", "formulas"):
            continue
        for name in PROTOTYPE.findall(plain(path)):
            found[name] = str(path.relative_to(ROOT))
    return found


def test_the_reader_reads():
    """Known cases on both sides, and through a static function."""
    functions, may = public(), allocating()
    assert {"ebm_graph_new", "ebm_plan_new", "ebm_vjp", "ebm_parallel"} <= functions.keys()
    assert {"ebm_graph_new", "ebm_graph_print", "ebm_plan_new", "ebm_trainer_feed"} <= may
    assert not {"ebm_graph_status", "ebm_graph_count", "ebm_shape_size", "ebm_parallel"} & may


def test_every_allocating_function_runs_out_of_memory():
    may, done = allocating(), run_without_memory()
    missing = {f"{f} ({header})" for f, header in public().items() if f in may - done}
    assert not missing, f"no test in tests/c lets these run out of memory: {sorted(missing)}"
