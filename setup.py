"""Builds the extension ebmlib._core, and the C test runner, from csrc.

Every file of csrc is compiled once, those of csrc/cpu (device.c apart) once for each
instruction set.  An object is compiled anew when its command, or a file that it was made from,
has changed.

    EBMLIB_WERROR=1                      warnings are errors
    EBMLIB_CUDA=1                        no nvcc is an error; 0: CUDA is left out where there is
                                         one (CUDA_HOME or the path has it, from 12.4 on)
    EBMLIB_SANITIZE=address,undefined    sanitizers, in folders of their own
    CC=clang                             another compiler: GCC >= 12 or Clang >= 14

    python setup.py build_ext --inplace  makes ebmlib/_core.*.so
    python setup.py c_runner             makes build/c/runner, or build/c-asan/runner
    python setup.py cuda_host            makes ebmlib/devices/libebm-cuda-host.so: the CUDA
                                         kernels as a device of the host, for tests
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
CUDA_LIBRARY = "devices/libebm-cuda.so"  # below ebmlib; beside modules it would pass for one
CUDA = sorted(Path("cuda").glob("*.cu"))
CUDA_HOST = sorted(Path("cuda/host").glob("*.cc"))

FLAGS = ["-std=c11", "-O3", "-g1", "-fPIC", "-pthread", "-fvisibility=hidden"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wstrict-prototypes"]
FLAGS += ["-Wmissing-prototypes", "-Wvla", "-Wconversion", "-Wno-sign-conversion"]
CXX_FLAGS = ["-std=c++17", "-O2", "-g1", "-fPIC", "-pthread", "-fvisibility=hidden"]
CXX_FLAGS += ["-Wall", "-Wextra", "-Wno-array-bounds"]
STRICT = ["-Werror"] if os.environ.get("EBMLIB_WERROR") == "1" else []

SANITIZE = os.environ.get("EBMLIB_SANITIZE", "")
if SANITIZE:
    FLAGS += [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-O1"]
    FLAGS += ["-fno-omit-frame-pointer", "-Wno-unknown-warning-option"]
    FLAGS += ["-Wno-maybe-uninitialized"]  # GCC takes its own instrumentation for doubt
    CXX_FLAGS += [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-O1"]
    CXX_FLAGS += ["-fno-omit-frame-pointer"]
FOLDER = {"": "", "address,undefined": "-asan", "thread": "-tsan"}.get(SANITIZE, "-sanitized")

ISAS = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    ISAS["avx2"] = ["-march=x86-64-v3"]
    ISAS["avx512"] = ["-march=x86-64-v4", "-mprefer-vector-width=512"]
    FLAGS += ["-DEBM_HAVE_X86_ISAS"]

# No kernel contracts a * b + c but where it says so; cudart is linked in, so that the library
# loads where there is no toolkit.
NVCC_FLAGS = ["-std=c++17", "-O3", "-fmad=false", "-cudart=static", "-Icuda", "-Icsrc"]
NVCC_FLAGS += ["-Xcompiler=-fPIC,-fvisibility=hidden,-Wall"]
NVCC_FLAGS += ["-Xptxas=-warn-spills", "-Xptxas=-v"]
NVCC_FLAGS += ["-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_90,code=sm_90"]
NVCC_FLAGS += ["-gencode=arch=compute_90,code=compute_90"]

# Products and convolutions may contract a * b + c into one rounding; nothing else may.
CONTRACTED = ("matmul", "conv", "dense")


def compiler(language="cc"):
    """The compiler of C: CC if set, else what built this Python, else what the path has; of C++
    ("g++") likewise, by CXX.
    """
    variable = {"cc": "CC", "g++": "CXX"}[language]
    names = [sysconfig.get_config_var(variable) or language, "cc", "gcc", "clang"]
    if language == "g++":
        names = [names[0], "g++", "clang++"]
    if os.environ.get(variable):
        names = [os.environ[variable]]
    for name in names:
        if shutil.which(shlex.split(name)[0]):
            return shlex.split(name)
    raise CompileError(
        f"no compiler (looked for {', '.join(names)}): install one, or set {variable}"
    )


def nvcc():
    """The CUDA compiler, if it is wanted and there; else None."""
    wanted = os.environ.get("EBMLIB_CUDA", "")
    if wanted not in ("", "0", "1"):
        raise CompileError(f"EBMLIB_CUDA: got {wanted!r}, expected 0, 1 or nothing")
    if wanted == "0":
        return None
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    found = shutil.which("nvcc") or next(
        (str(path) for home in homes if home and (path := Path(home, "bin", "nvcc")).exists()),
        None,
    )
    if wanted == "1" and not found:
        raise CompileError("EBMLIB_CUDA=1: no nvcc: install the CUDA toolkit, or set CUDA_HOME")
    return found


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


def compile_one(source, target, flags, start=None):
    start = start or [*compiler(), *FLAGS]
    command = [*start, *flags, "-MMD", "-MF", str(target.with_suffix(".d"))]
    command += ["-c", str(source), "-o", str(target)]
    if is_current(target, command):
        return
    print(f"cc {target}", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".cmd").unlink(missing_ok=True)
    started = time.time()
    strict = STRICT
    if strict and source.suffix == ".cu" and "nvcc" in command[0]:
        strict = ["-Werror=all-warnings"]
    done = subprocess.run([*command, *strict], stderr=subprocess.PIPE, text=True)
    said = done.stderr
    if "-Xptxas=-v" in command:
        said = keep_resources(said, target.with_suffix(".resources"))
    sys.stderr.write(said)
    if done.returncode:
        raise CompileError(f"cannot compile {source}: {shlex.join(command)}")
    os.utime(target, (started, started))
    if not said:  # what gave a warning is compiled, and gives it, again
        target.with_suffix(".cmd").write_text(shlex.join(command))


def keep_resources(said, target):
    """Writes what ptxas says of registers, stack and shared memory; returns the rest."""
    lines = said.splitlines(keepends=True)
    facts = [line.startswith("ptxas info") or line[:1] == " " for line in lines]
    target.write_text("".join(line for line, fact in zip(lines, facts, strict=True) if fact))
    return "".join(line for line, fact in zip(lines, facts, strict=True) if not fact)


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
    return compile_jobs(jobs)


def compile_jobs(jobs, start=None):
    """Compiles (source, target, flags) at the same time; the targets as text."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: compile_one(*job, start=start), jobs))
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
        if nvcc() and not SANITIZE:
            self.build_cuda(Path(path).parent / CUDA_LIBRARY)

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        made = Path(self.build_lib, "ebmlib", CUDA_LIBRARY)
        if nvcc() and made.exists():
            Path("ebmlib/devices").mkdir(exist_ok=True)
            shutil.copy2(made, Path("ebmlib", CUDA_LIBRARY))

    def build_cuda(self, target):
        """The device library: kernels for two cards and, as PTX, for later ones."""
        start = [nvcc(), "-ccbin", compiler("g++")[0], *NVCC_FLAGS]
        jobs = [(source, Path("build/cuda") / f"{source.stem}.o", []) for source in CUDA]
        objects = compile_jobs(jobs, start)
        if target.exists() and all(
            Path(name).stat().st_mtime <= target.stat().st_mtime for name in objects
        ):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if subprocess.run([*start, "-shared", *objects, "-o", str(target)]).returncode:
            raise LinkError("cannot link the CUDA library")


class CudaHost(Command):
    """Compiles the CUDA kernels with the C++ compiler against cuda/host: a device library."""

    user_options = []

    def initialize_options(self):
        pass

    finalize_options = initialize_options

    def run(self):
        folder = Path(f"build/cuda-host{FOLDER}")
        flags = ["-xc++", "-Icuda", "-Icuda/host", "-Icsrc", "-ffp-contract=off"]
        jobs = [(source, folder / f"{source.stem}.o", flags) for source in CUDA + CUDA_HOST]
        objects = compile_jobs(jobs, [*compiler("g++"), *CXX_FLAGS])
        target = os.environ.get("EBMLIB_CUDA_HOST", "ebmlib/devices/libebm-cuda-host.so")
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        link = [*compiler("g++"), *CXX_FLAGS, "-shared", *objects, "-o", target]
        if subprocess.run(link).returncode:
            raise LinkError("cannot link the device cuda-host")


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
        cmdclass={"build_ext": BuildExt, "c_runner": CRunner, "cuda_host": CudaHost},
    )
