"""Builds the extension ebmlib._core, and the C test runner, from csrc.

Every file of csrc is compiled once, those of csrc/cpu (device.c apart) once for each
instruction set.  An object is compiled anew when its command, or a file that it was made from,
has changed.

    EBMLIB_WERROR=1                      warnings are errors
    EBMLIB_SANITIZE=address,undefined    sanitizers, in folders of their own
    CC=clang                             another compiler: GCC >= 12 or Clang >= 14

    python setup.py build_ext --inplace  makes ebmlib/_core.*.so
    python setup.py c_runner             makes build/c/runner, or build/c-asan/runner
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

CORE = sorted(Path("csrc").rglob("*.c"))  # setuptools works in this folder
BORDER = [path for path in CORE if path.parts[1] == "python"]
RUNNER = sorted(Path("tests/c").glob("*.c"))

FLAGS = ["-std=c11", "-O3", "-g1", "-fPIC", "-pthread", "-fvisibility=hidden"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wstrict-prototypes"]
FLAGS += ["-Wmissing-prototypes", "-Wvla", "-Wconversion", "-Wno-sign-conversion"]
STRICT = ["-Werror"] if os.environ.get("EBMLIB_WERROR") == "1" else []

SANITIZE = os.environ.get("EBMLIB_SANITIZE", "")
if SANITIZE:
    FLAGS += [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-O1"]
    FLAGS += ["-fno-omit-frame-pointer", "-Wno-unknown-warning-option"]
    FLAGS += ["-Wno-maybe-uninitialized"]  # GCC takes its own instrumentation for doubt
FOLDER = {"": "", "address,undefined": "-asan", "thread": "-tsan"}.get(SANITIZE, "-sanitized")

ISAS = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    ISAS["avx2"] = ["-march=x86-64-v3"]
    ISAS["avx512"] = ["-march=x86-64-v4", "-mprefer-vector-width=512"]
    FLAGS += ["-DEBM_HAVE_X86_ISAS"]

# Products and convolutions may contract a * b + c into one rounding; nothing else may.
CONTRACTED = ("matmul", "conv", "dense")


def compiler():
    """The C compiler: CC if set, else what built this Python, else what the path has."""
    names = [sysconfig.get_config_var("CC") or "cc", "cc", "gcc", "clang"]
    if os.environ.get("CC"):
        names = [os.environ["CC"]]
    for name in names:
        if shutil.which(shlex.split(name)[0]):
            return shlex.split(name)
    raise CompileError(f"no C compiler (looked for {', '.join(names)}): install one, or set CC")


def is_current(target, command):
    """True if `target` was made by `command` and is younger than all that it was made from."""
    made_by, made_from = target.with_suffix(".cmd"), target.with_suffix(".d")
    try:
        if made_by.read_text() != shlex.join(command):
            return False
        _, _, names = made_from.read_text().replace("\\\n", " ").partition(": ")
        made = target.stat().st_mtime
        return all(Path(name).stat().st_mtime < made for name in shlex.split(names))
    except FileNotFoundError:
        return False


def compile_one(source, target, flags):
    command = [*compiler(), *FLAGS, *flags, "-MMD", "-c", str(source), "-o", str(target)]
    if is_current(target, command):
        return
    print(f"cc {target}", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".cmd").unlink(missing_ok=True)
    started = time.time()
    done = subprocess.run([*command, *STRICT], stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode:
        raise CompileError(f"cannot compile {source}: {shlex.join(command)}")
    os.utime(target, (started, started))
    if not done.stderr:  # what gave a warning is compiled, and gives it, again
        target.with_suffix(".cmd").write_text(shlex.join(command))


def variants(source):
    """(folder, flags) of each object that is made from `source`."""
    if source.parts[:2] != ("csrc", "cpu") or source.name == "device.c":
        return [("", ["-ffp-contract=off"])]
    contract = "fast" if source.stem.startswith(CONTRACTED) else "off"
    flags = [f"-ffp-contract={contract}"]
    return [(isa, [*flags, f"-DEBM_ISA={isa}", *more]) for isa, more in ISAS.items()]


def compile_all(sources, folder, border_flags=()):
    """Compiles what has changed, on all processors; returns the objects' paths."""
    jobs = []
    for source in sources:
        extra = border_flags if source in BORDER else ()
        for isa, flags in variants(source):
            target = Path(folder) / isa / source.with_suffix(".o")
            jobs.append((source, target, ["-Icsrc", *flags, *extra]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: compile_one(*job), jobs))
    return [str(target) for _, target, _ in jobs]


class BuildExt(build_ext):
    """build_ext with the house's own rule for compiling."""

    def build_extension(self, ext):
        import numpy

        paths = [sysconfig.get_path(name) for name in ("include", "platinclude")]
        flags = [f"-isystem{path}" for path in dict.fromkeys([*paths, numpy.get_include()])]
        flags += ["-Wno-pedantic"]  # Python's slots hold functions as void *
        objects = compile_all(CORE, f"build/core{FOLDER}", flags)
        link = ["-pthread", "-lm"] + ([f"-fsanitize={SANITIZE}"] if SANITIZE else [])
        path = self.get_ext_fullpath(ext.name)
        self.compiler.link_shared_object(objects, path, extra_postargs=link)


class CRunner(Command):
    """Links tests/c against all of csrc but the border to Python."""

    user_options = []

    def initialize_options(self):
        pass

    finalize_options = initialize_options

    def run(self):
        folder = f"build/c{FOLDER}"
        sources = [path for path in CORE if path not in BORDER] + RUNNER
        objects = compile_all(sources, folder)
        link = [*compiler(), *FLAGS, *objects, "-o", f"{folder}/runner", "-lm"]
        if subprocess.run(link).returncode:
            raise LinkError("cannot link the C test runner")


if __name__ == "__main__":
    setup(
        ext_modules=[Extension("ebmlib._core", [str(path) for path in CORE])],
        cmdclass={"build_ext": BuildExt, "c_runner": CRunner},
    )
