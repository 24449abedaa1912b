# make demo     a first look: runs the quickstart notebook, leaves a page and its figures in build/demo
# make test     everything that must pass before a commit
# make docs     the user guide and the API reference, into build/docs/html; every example runs
# make build    the extension, in place; rebuilds what has changed
# make py-asan  Python tests on an extension with sanitizers; .ci/run does it too
# make py-cuda  Python tests on the CUDA kernels, run by the host with sanitizers; likewise
# make bench    benchmarks/ against PyTorch, torch.compile, JAX and others: checked, then timed; the
#               tables in build/bench.md, all figures in build/bench.json (SYSTEMS=usual leaves out
#               torch.compile; RUN="--workloads W5,W6 --merge" goes on with a run that was stopped)
# make format   puts C and Python into the house's form
# make clean    removes all that was made here, the environment too
#
# Needs Python >= 3.10 with venv and pip, a C compiler (GCC >= 12 or Clang >= 14) and make; all else
# comes from PyPI into .venv.

NAMES := python3 python3.14 python3.13 python3.12 python3.11 python3.10
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
PYTHON := $(shell for p in $(NAMES); do $$p $(NEW_ENOUGH) && echo $$p && break; done)
PY := .venv/bin/python
WORKERS := -n auto --maxprocesses 4 --dist worksteal # of pytest
NBCONVERT := $(PY) -m nbconvert --log-level WARN
COALESCE := --CoalesceStreamsPreprocessor.enabled=True # a progress line overwrites itself
C_FILES = $(shell find csrc tests/c cuda tests/cuda -name '*.[ch]' -o -name '*.cu' -o -name '*.cc')

export EBMLIB_WERROR := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export JUPYTER_PLATFORM_DIRS := 1

.DELETE_ON_ERROR:
.PHONY: bench demo test docs build cuda-host c-test c-asan c-tsan py-asan py-cuda static format \
	clean

# Warnings of a compiler that we have not seen yet shall not keep anyone from a first look.
demo: EBMLIB_WERROR := 0
demo: .venv/demo
	$(PY) setup.py -q build_ext --inplace
	$(NBCONVERT) --execute --to notebook --output-dir build/demo notebooks/quickstart.ipynb
	$(NBCONVERT) $(COALESCE) --to markdown build/demo/quickstart.ipynb
	$(NBCONVERT) $(COALESCE) --to html build/demo/quickstart.ipynb
	@echo "The page:    $(CURDIR)/build/demo/quickstart.html"
	@echo "Its figures: $(CURDIR)/build/demo/quickstart_files/"

test: build cuda-host c-test static docs
	EBMLIB_QUICK=1 $(PY) -m pytest $(WORKERS) --nbmake --nbmake-timeout=600 tests notebooks

docs: build
	$(PY) -m sphinx -q -E -W --keep-going -d build/docs/doctrees docs build/docs/html
	@echo "The documents: $(CURDIR)/build/docs/html/index.html"

build: .venv/test
	$(PY) setup.py -q build_ext --inplace

# The CUDA kernels as a device of the host, for tests/cuda.
cuda-host: .venv/test
	$(PY) setup.py -q cuda_host

c-test: c-asan c-tsan

c-asan: .venv/test
	EBMLIB_SANITIZE=address,undefined $(PY) setup.py -q c_runner
	build/c-asan/runner
	! build/c-asan/runner --leak > build/c-asan/leak.txt 2>&1 # leaks are looked for
	grep -q LeakSanitizer build/c-asan/leak.txt

c-tsan: .venv/test
	EBMLIB_SANITIZE=thread $(PY) setup.py -q c_runner
	TSAN_OPTIONS="die_after_fork=0 atexit_sleep_ms=100" build/c-tsan/runner threads

# The Python tests that reach furthest into the core, on an extension with sanitizers (of GCC, whose
# runtime is preloaded, with that of C++, whose exceptions it wants to see).  The interpreter leaks of
# its own: blocks of the core are counted by the tests, and leaks looked for by c-asan.
PY_ASAN = tests/python/test_border.py tests/python/test_hostile.py tests/python/test_nomem.py \
	tests/python/test_networks.py tests/python/test_samplers.py tests/ops/test_every_row.py
py-asan: .venv/test
	EBMLIB_SANITIZE=address,undefined $(PY) setup.py -q build --build-lib build/py-asan
	rm -rf build/py-asan/tests
	cp -r tests pyproject.toml build/py-asan
	mkdir -p build/py-asan/csrc/graph
	cp csrc/graph/ops.def build/py-asan/csrc/graph
	cd build/py-asan && ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
		$(CURDIR)/$(PY) -m pytest -q $(WORKERS) \
		--capture=sys -p no:cacheprovider -k 'not f64 and not leave and not long' $(PY_ASAN)

# What runs on a device, on cuda-host: random plans and kernels with sanitizers, these in three orders of
# threads and sizes of blocks, and what stands on them without.  More plans, a minute for 3,000 or so:
#     python setup.py c_runner && EBMLIB_CUDA_HOST=build/c/devices/libebm-cuda-host.so python \
#     setup.py cuda_host && PLAN_DEVICE=cuda-host PLAN_FUZZ=3000 build/c/runner plan_random_graphs
CUDA_KERNELS = tests/ops/test_ops.py tests/ops/test_devices.py tests/ops/test_long.py \
	tests/ops/test_random.py tests/cuda/test_fusion.py tests/cuda/test_ulps.py
CUDA_ABOVE = tests/ops tests/parity tests/python/test_networks.py tests/python/test_samplers.py \
	tests/python/test_estimators.py
CUDA_PYTEST = cd build/py-cuda && EBMLIB_TEST_DEVICE=cuda-host ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	$(CURDIR)/$(PY) -m pytest -q $(WORKERS) --capture=sys -p no:cacheprovider
py-cuda: cuda-host
	EBMLIB_CUDA=0 $(PY) setup.py -q build --build-lib build/py-cuda
	EBMLIB_SANITIZE=address,undefined EBMLIB_CUDA_HOST=build/py-cuda/ebmlib/devices/libebm-cuda-host.so \
		$(PY) setup.py -q cuda_host
	rm -rf build/py-cuda/tests build/py-cuda/csrc build/py-cuda/benchmarks
	cp -r tests csrc benchmarks pyproject.toml build/py-cuda
	mkdir -p build/c-asan/devices
	cp build/py-cuda/ebmlib/devices/libebm-cuda-host.so build/c-asan/devices
	EBMLIB_SANITIZE=address,undefined $(PY) setup.py -q c_runner
	PLAN_DEVICE=cuda-host build/c-asan/runner plan_random
	PLAN_DEVICE=cuda-host build/c-asan/runner guard
	EBMLIB_CUDA_ORDER=2 EBMLIB_CUDA_BLOCK=256 PLAN_DEVICE=cuda-host PLAN_FUZZ=60 PLAN_FUZZ_FROM=60 \
		build/c-asan/runner plan_random_graphs
	$(subst EBMLIB_TEST_DEVICE=cuda-host,,$(CUDA_PYTEST)) tests/cuda \
		$(addprefix --ignore tests/cuda/test_,shim.py fusion.py ulps.py)
	$(CUDA_PYTEST) $(CUDA_KERNELS)
	export EBMLIB_CUDA_ORDER=1 EBMLIB_CUDA_BLOCK=32; $(CUDA_PYTEST) $(CUDA_KERNELS) -k 'not along'
	export EBMLIB_CUDA_ORDER=2 EBMLIB_CUDA_BLOCK=256; $(CUDA_PYTEST) $(CUDA_KERNELS) -k 'not along'
	EBMLIB_TEST_DEVICE=cuda-host $(PY) -m pytest -q $(WORKERS) $(CUDA_ABOVE) -k 'not learns' # 1,500 steps

static: build
	$(PY) tests/package/floors.py
	.venv/bin/clang-format --dry-run -Werror $(C_FILES)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	$(PY) -m mypy
	$(PY) -m mypy.stubtest ebmlib._core

format: .venv/test
	.venv/bin/clang-format -i $(C_FILES)
	.venv/bin/ruff check --fix-only
	.venv/bin/ruff format

SYSTEMS = all
FIGURES = build/bench.json
bench: .venv/bench
	$(PY) setup.py -q build_ext --inplace
	$(PY) benchmarks/run.py --systems $(SYSTEMS) --json $(FIGURES) $(RUN)
	$(PY) benchmarks/micro.py --json $(FIGURES) --merge
	$(PY) benchmarks/startup.py --build --json $(FIGURES) --merge
	$(PY) benchmarks/growth.py --json $(FIGURES) --merge --figure build/growth.png
	$(PY) benchmarks/report.py $(FIGURES) > build/bench.md
	@echo "The page: $(CURDIR)/build/bench.md"

clean:
	rm -rf build .venv ebmlib/*.so

# The tree itself is on the environment's path: what is imported is what stands here.
.venv/base:
	@test -n "$(PYTHON)" || { echo "no Python >= 3.10 found (tried $(NAMES))"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install -q --upgrade 'pip>=25.1'
	$(PY) -m pip install -q --group build
	$(PY) -c 'import site; open(site.getsitepackages()[0] + "/ebmlib.pth", "w").write("$(CURDIR)")'
	touch $@

.venv/%: pyproject.toml .venv/base
	$(PY) -m pip install -q --group $*
	touch $@
