# One file of verbs, the same here and in CI. `make test` and `make demo` start from nothing.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help install demo test check docs bench clean

help:
	@echo "make demo     安装并试用自带的小模型 / install, and try the model in the package"
	@echo "make test     全部测试 / all tests, on TensorFlow and on JAX"
	@echo "make check    格式、类型、导入方向 / format, types, direction of imports"
	@echo "make docs     文档中的图和例子 / pictures and examples of the documentation"
	@echo "make bench    与其他实现比速度 / speed beside other implementations"

install: .venv/base

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(PIP) install "pip>=25.1"
	touch $@

.venv/base: .venv/python pyproject.toml
	$(PIP) install --editable .
	touch $@

.venv/test: .venv/base
	$(PIP) install --group test --editable ".[tensorflow,jax,plot]"
	touch $@

.venv/check: .venv/base
	$(PIP) install --group check --editable .
	touch $@

demo: .venv/base
	$(BIN)/cpm sample "床前明月光，" -n 3 --max-tokens 24 --seed 1
	$(BIN)/cpm sample "1+1=2,1+2=3,1+3=4,1+4=" --max-tokens 1 --temperature 0
	$(BIN)/cpm next "今天的天空好"

# Keras has one backend per process: the suite of the Keras engines runs once in each.
test: .venv/test
	CPM_TEST_ENGINE=tensorflow $(BIN)/python -m pytest
	CPM_TEST_ENGINE=jax $(BIN)/python -m pytest -m keras

check: .venv/check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: .venv/test
	$(BIN)/python docs/figures.py

bench: .venv/bench
	$(BIN)/python benchmarks/keras_decode.py

.venv/bench: .venv/test
	$(PIP) install --group bench
	touch $@

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
