# All commands, the same here and in CI. `make test` and `make demo` need no preparation.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NATIVE := $(wildcard native/*/*.cpp native/*/*.hpp)

# A package that is installed in place knows its files from the installation: a new file is a new one.
SOURCES := $(shell find src -type d -not -name __pycache__)

.PHONY: help install demo quick test slow sanitize fuzz check format docs bench bench-decode \
	bench-vote bench-formats lock audit clean

help:
	@echo "make install  装入 .venv / install into .venv"
	@echo "make demo     安装并试用自带的小模型 / install and try the packaged model"
	@echo "make quick    半分钟内的测试 / the tests that take under half a minute"
	@echo "make check    格式、类型、导入方向 / format, types, import rules"
	@echo "make format   格式化源文件 / format the sources"
	@echo "make test     全部测试 / all tests, on TensorFlow and on JAX"
	@echo "make docs     生成文档中的图 / figures of the documentation"
	@echo "make sanitize 用 sanitizer 测试内核 / test the kernels under sanitizers"
	@echo "make fuzz     模糊测试：读取损坏的文件，默认十分钟 / fuzzing: read damaged files, for SECONDS=600"
	@echo "make lock     锁定依赖的版本和摘要 / lock the dependencies' versions and digests"
	@echo "make audit    查询依赖的已知漏洞 / look up known vulnerabilities of the dependencies"
	@echo "make slow     CI 不跑的测试 / what CI leaves out"
	@echo "make test-TIER  $(TIERS)：需要另外环境的测试 / tests that need an environment of their own"
	@echo "make bench    与其他实现比速度 / compare speed with other implementations"
	@echo "make bench-decode  原生引擎与同类库比速度 / compare the native engine with its peers"
	@echo "make bench-vote  300 条续写，与同类库比速度 / compare 300 samples with other libraries"
	@echo "make bench-formats 26 亿参数模型的转换与导出 / convert and export 2.6 billion parameters"

# pip shows nothing of a build that succeeds, and one without a compiler succeeds.
define WITHOUT_KERNELS
from cpm_lm.engines.select import has_native
has_native() or print(
"已安装，但没有编译的内核（没有可用的 C++20 编译器，或设了 CPM_NO_NATIVE），计算慢得多：见 docs/building.md。\n"
"Installed without the compiled kernels (no working C++20 compiler, or CPM_NO_NATIVE is set): "
"computing is many times slower, see docs/building.en.md.")
endef
export WITHOUT_KERNELS

install: .venv/base

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(PIP) install "pip>=25.1"
	touch $@

.venv/base: .venv/python pyproject.toml CMakeLists.txt $(NATIVE) $(SOURCES)
	@echo "正在安装并编译 C++ 内核：两核约需 1 到 3 分钟，其间没有输出（CPM_NO_NATIVE=1 则不编译）。"
	@echo "Installing, and compiling the C++ kernels: 1 to 3 minutes on 2 cores, without output" \
		"(CPM_NO_NATIVE=1 leaves them out)."
	$(PIP) install --editable .
	@$(BIN)/python -c "$$WITHOUT_KERNELS"
	touch $@

.venv/test: .venv/base
	$(PIP) install --group test --editable ".[tensorflow,jax,plot,pull]"
	touch $@

.venv/check: .venv/base
	$(PIP) install --group check --editable .
	touch $@

demo: .venv/base
	$(BIN)/cpm sample "床前明月光，" -n 3 --max-tokens 24 --seed 2
	$(BIN)/cpm sample "1+1=2,1+2=3,1+3=4,1+4=" --max-tokens 1 --temperature 0
	$(BIN)/cpm next "今天的天空好"

# The inner loop: fakes and tiny models, no framework, a tenth of the examples, shapes not checked.
QUICK := tests/test_imports.py tests/test_public.py tests/test_doctests.py tests/test_defaults.py \
	tests/test_model.py tests/decoding tests/distributions tests/generation tests/engines/test_forest.py \
	tests/engines/test_wants.py tests/tokenizer/test_cpm.py tests/checkpoints/containers
quick: .venv/test
	JAXTYPING_DISABLE=1 CPM_EXAMPLES=0.1 $(BIN)/python -m pytest -q -m "not keras and not long" $(QUICK)

# Keras has one backend per process, so the tests of the Keras engines run once for each.
test: .venv/test
	CPM_TEST_ENGINE=tensorflow $(BIN)/python -m pytest
	CPM_TEST_ENGINE=jax $(BIN)/python -m pytest -m "keras and not slow"

# What CI leaves out: the laws with a hundred times the examples, tests marked slow, long fuzzing.
slow: .venv/test
	CPM_TEST_ENGINE=tensorflow CPM_EXAMPLES=100 $(BIN)/python -m pytest -m "slow or law"
	$(MAKE) fuzz

# Tiers: each a marker, and an environment of its own that holds what it needs besides `test`.
TIERS := clients browser scale train arm
$(TIERS:%=test-%): test-%: .venv/test-%
	$(BIN)/python -m pytest -m $* || test $$? -eq 5  # 5: no test of this tier yet

.venv/test-%: .venv/test
	touch $@

.venv/test-clients: .venv/test
	$(PIP) install --group clients
	touch $@

# Python itself is not instrumented, so the libraries of the sanitizers are preloaded, and leaks are
# ignored because they are Python's. A report ends the process, so it must not be captured.
# ThreadSanitizer needs fixed addresses (setarch -R); die_after_fork=0 lets a child have threads.
UNDER_ASAN = ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)"
UNDER_TSAN = TSAN_OPTIONS=halt_on_error=1:die_after_fork=0 setarch -R env \
	LD_PRELOAD="$$($(CXX) -print-file-name=libtsan.so)"

sanitize: build/sanitize-address build/sanitize-thread
	CPM_NATIVE=$(CURDIR)/$</_native.so $(UNDER_ASAN) $(BIN)/python -m pytest --capture=sys tests/native
	CPM_NATIVE=$(CURDIR)/build/sanitize-thread/_native.so $(UNDER_TSAN) \
		$(BIN)/python -m pytest --capture=sys tests/native/test_pool.py tests/native/test_interruption.py

build/sanitize-address: SANITIZERS = address,undefined
build/sanitize-thread: SANITIZERS = thread
build/sanitize-%: .venv/sanitize CMakeLists.txt $(NATIVE)
	mkdir -p build
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B $@ -G Ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
		-DCMAKE_BUILD_TYPE=Release -DCPM_STRICT=ON -DCPM_SANITIZE=$(SANITIZERS) >$@.log
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build $@ >>$@.log
	cp $@/_native.*.so $@/_native.so
	touch $@

.venv/sanitize: .venv/base
	$(PIP) install --group sanitize
	touch $@

SECONDS := 600
fuzz: .venv/fuzz
	$(BIN)/python -m tests.support.fuzzing --seconds $(SECONDS)
	$(BIN)/python -m tests.support.coverage_fuzzing --seconds $$(($(SECONDS) / 4))

# atheris has wheels for some versions of Python on Linux only; the program says so if it is missing.
.venv/fuzz: .venv/test
	-$(PIP) install --group fuzz
	touch $@

check: .venv/check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)

format: .venv/check
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

# The versions and digests of what `pip install cpm-lm[all extras]` installs, for all systems. Not
# torch: only the tests use it, its builds differ by GPU and come from an index of their own.
define LOCK_HEAD
# Made by `make lock`: the dependencies and the extras of pyproject.toml, with all their builds.
# Install with: pip install --require-hashes -r requirements.lock
# Without PyTorch and what else only the tests and benchmarks use: see docs/dependencies.md.
endef
export LOCK_HEAD
lock: .venv/lock
	mkdir -p build
	{ echo "$$LOCK_HEAD"; $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
		--all-extras --generate-hashes --no-emit-index-url --no-header; } >build/requirements.lock
	mv build/requirements.lock requirements.lock

audit: .venv/audit
	$(BIN)/python -m tests.support.audit

.venv/lock .venv/audit: .venv/%: .venv/python pyproject.toml
	$(PIP) install --group $*
	touch $@

docs: .venv/test
	$(BIN)/python docs/figures.py
	$(BIN)/python docs/decode_figure.py

bench: .venv/bench
	$(BIN)/python -m benchmarks.keras_decode $(ARGS)

# 5.2 GB of random weights; needs 21 GB of disk and 14 GB of memory. Smaller: ARGS="--layers 4".
bench-formats: .venv/test
	$(BIN)/python benchmarks/formats.py $(ARGS)

.venv/bench: .venv/test
	$(PIP) install --group bench
	touch $@

# The other libraries have their own environment. llama.cpp comes from the source package of its
# Python binding and is built for this processor, with AMX if it has it. GCC 12.2 removes most stores
# of the AMX tile configuration as dead, and the first tile instruction then faults; so the file that
# uses AMX is compiled without dead store elimination. Without AMX:
# make bench-decode LLAMA_FLAGS="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
LLAMA := 0.3.36
LLAMA_FLAGS :=
LLAMA_TILES := set_source_files_properties(ggml/src/ggml-cpu/amx/mmq.cpp TARGET_DIRECTORY ggml-cpu \
	PROPERTIES COMPILE_OPTIONS "-fno-tree-dse;-fno-dse")
PEERS := $(CURDIR)/.venv-bench
PEERS_PIP = $(PEERS)/bin/python -m pip --disable-pip-version-check --quiet
LLAMA_BUILD := $(PEERS)/llama.cpp

bench-decode: .venv-bench/package .venv-bench/llama
	LLAMA_CPP_LIB_PATH=$(LLAMA_BUILD)/bin $(PEERS)/bin/python -m benchmarks.decode $(ARGS)

bench-vote: .venv-bench/package
	$(PEERS)/bin/python -m benchmarks.vote $(ARGS)

.venv-bench/peers: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS_PIP) install "pip>=25.1"
	$(PEERS_PIP) install --group bench-peers
	touch $@

# Not editable: the package as users install it, with its kernels.
.venv-bench/package: .venv-bench/peers $(shell find src native CMakeLists.txt -type f -not -name '*.pyc')
	$(PEERS_PIP) install ".[plot]"
	touch $@

.venv-bench/llama: .venv-bench/peers
	$(PEERS_PIP) download --no-deps --no-binary llama-cpp-python --dest $(PEERS) \
		llama-cpp-python==$(LLAMA)
	tar -xzf $(PEERS)/llama_cpp_python-$(LLAMA).tar.gz -C $(PEERS)
	echo '$(LLAMA_TILES)' >>$(PEERS)/llama_cpp_python-$(LLAMA)/vendor/llama.cpp/CMakeLists.txt
	$(PEERS)/bin/cmake -S $(PEERS)/llama_cpp_python-$(LLAMA)/vendor/llama.cpp -B $(LLAMA_BUILD) \
		-G Ninja -DCMAKE_MAKE_PROGRAM=$(PEERS)/bin/ninja -DCMAKE_BUILD_TYPE=Release \
		-DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
		-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF \
		-DLLAMA_BUILD_UI=OFF -DLLAMA_BUILD_TOOLS=ON \
		-DCMAKE_C_FLAGS="$(LLAMA_FLAGS)" -DCMAKE_CXX_FLAGS="$(LLAMA_FLAGS)"
	$(PEERS)/bin/cmake --build $(LLAMA_BUILD) --target llama llama-bench
	CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" $(PEERS_PIP) install \
		$(PEERS)/llama_cpp_python-$(LLAMA).tar.gz
	touch $@

clean:
	rm -rf .venv .venv-bench .bench-models dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
