"""setup.py: what is compiled how, and when again; what the extension shows to the outside."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ebmlib._core

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def build(monkeypatch):
    """setup.py as a module."""
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("ebmlib_setup", "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_products_are_contracted(build):
    for source in build.CORE:
        kernels = source.parts[1] == "cpu" and source.name != "device.c"
        product = kernels and source.name.startswith(("matmul", "conv", "dense"))
        for isa, flags in build.variants(source):
            assert (f"-DEBM_ISA={isa}" in flags) == kernels
            assert ("-ffp-contract=fast" in flags) == product
            assert ("-ffp-contract=off" in flags) != product
            assert not any("fast-math" in flag for flag in (*flags, *build.FLAGS))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 has the three sets")
def test_kernels_are_compiled_for_each_instruction_set(build):
    variants = dict(build.variants(Path("csrc/cpu/reduce.c")))
    assert list(variants) == ["baseline", "avx2", "avx512"]
    assert not any(flag.startswith("-m") for flag in variants["baseline"])
    assert "-march=x86-64-v3" in variants["avx2"]
    assert "-march=x86-64-v4" in variants["avx512"]
    assert [isa for isa, _ in build.variants(Path("csrc/cpu/device.c"))] == [""]
    assert [isa for isa, _ in build.variants(Path("tests/c/test_cpu.c"))] == [""]


@pytest.fixture
def small(build, tmp_path, monkeypatch):
    """A source with a header in a folder of its own, and a function that compiles it.

    The function says whether anything was compiled.
    """
    monkeypatch.chdir(tmp_path)
    source, header, target = Path("a.c"), Path("a.h"), Path("out/a.o")
    header.write_text("enum { A = 1 };\n")
    source.write_text('#include "a.h"\nint a[A];\n')
    for path in (source, header):
        os.utime(path, (1e9, 1e9))

    def compile_it(*flags):
        made, run = [], subprocess.run

        def counted(command, **options):
            made.append(command)
            return run(command, **options)

        with monkeypatch.context() as patch:
            patch.setattr(build.subprocess, "run", counted)
            build.compile_one(source, target, list(flags))
        assert target.exists()
        return bool(made)

    return compile_it


def test_an_object_is_made_once(small):
    assert small()
    assert not small()


@pytest.mark.parametrize("name", ["a.c", "a.h"])
def test_a_changed_file_makes_it_anew(small, name):
    small()
    with open(name, "a") as file:
        file.write("enum { B = 2 };\n")
    os.utime(name, (4e9, 4e9))
    assert small()


def test_a_changed_command_makes_it_anew(small):
    small()
    assert small("-DB=1")
    assert not small("-DB=1")
    assert small()


def test_a_lost_file_makes_it_anew(small):
    small()
    Path("out/a.o").unlink()
    assert small()


def test_what_does_not_compile_is_tried_again(build, small):
    small()
    good = Path("a.c").read_text()
    Path("a.c").write_text("int a[;\n")
    os.utime("a.c", (4e9, 4e9))
    for _ in range(2):
        with pytest.raises(build.CompileError, match=r"cannot compile a\.c"):
            small()
    Path("a.c").write_text(good)
    os.utime("a.c", (1e9, 1e9))
    assert small()


def test_what_gives_a_warning_gives_it_again(build, small, capsys, monkeypatch):
    Path("a.c").write_text("static int unused;\n")
    os.utime("a.c", (1e9, 1e9))
    monkeypatch.setattr(build, "STRICT", [])
    for _ in range(2):
        assert small()
        assert "unused" in capsys.readouterr().err
    monkeypatch.setattr(build, "STRICT", ["-Werror"])
    with pytest.raises(build.CompileError):
        small()


def test_a_compiler_that_is_not_there_is_an_error(build, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(build.CompileError, match="looked for no-such-compiler"):
        build.compiler()


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_the_extension_exports_nothing_but_its_entry():
    command = ["nm", "--dynamic", "--defined-only", ebmlib._core.__file__]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in text.splitlines()}
    assert names - {"_init", "_fini"} == {"PyInit__core"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """(names in the sdist, names in the wheel), both made from this tree, with its objects."""
    out = tmp_path_factory.mktemp("packed")
    commands = ["egg_info", "-e", out, "build", "-b", out / "build", "sdist", "-d", out]
    commands += ["bdist_wheel", "-d", out, "-b", out / "wheel"]
    command = [sys.executable, "setup.py", "-q", *commands]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    with tarfile.open(sdist) as files:
        names = [member.name for member in files if member.isfile()]
    return {name.partition("/")[2] for name in names}, set(zipfile.ZipFile(wheel).namelist())


def test_the_sdist_has_all_that_is_compiled_tested_and_read(packed):
    wanted = [path for folder in ("csrc", "cuda", "tests", "docs") for path in sources(folder)]
    wanted += [ROOT / name for name in ("setup.py", "pyproject.toml", "Makefile", "LICENSE")]
    wanted += [
        *ROOT.glob("*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
        *ROOT.glob("benchmarks/*.*"),
    ]
    missing = {path.relative_to(ROOT).as_posix() for path in wanted} - packed[0]
    assert len(wanted) > 150
    assert not missing


def test_the_sdist_has_nothing_that_was_made(packed):
    made = (".pyc", ".so", ".o", ".a")
    assert not [name for name in packed[0] if name.endswith(made) or name.startswith("build/")]
    assert not [name for name in packed[0] if name.startswith("docs/api/")]


def test_the_wheel_has_the_package_and_nothing_else(packed):
    package = {path.relative_to(ROOT).as_posix() for path in sources("ebmlib")}
    extension = Path(ebmlib._core.__file__).name
    made = {f"ebmlib/{extension}", "ebmlib/devices/libebm-cuda.so"}  # the last with nvcc only
    rest = packed[1] - package - made
    assert packed[1] >= package | {f"ebmlib/{extension}"}
    assert {name.partition("/")[0] for name in rest} == {
        f"ebmlib-{ebmlib.__version__}.dist-info"
    }


def sources(folder):
    """The files below a folder that people write."""
    suffixes = {".c", ".h", ".inc", ".def", ".cu", ".cc", ".py", ".pyi", ".md", ".css"}
    for path in (ROOT / folder).rglob("*"):
        if path.suffix in suffixes or path.name == "py.typed":
            yield path
