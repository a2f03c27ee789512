# Four scripts are the whole toolchain: setup, check, test, demo.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := demo
.PHONY: setup dev demo serve check test test-all fmt docs notebooks clean

setup: .venv/.ready
dev: .venv/.ready-dev

.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/.ready-dev: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/anomalyst demo --out out/demo

# The workbench: http://127.0.0.1:7860
serve: .venv/.ready-serve
	$(BIN)/anomalyst serve

.venv/.ready-serve: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve]'
	touch $@

fmt: dev
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

check: dev
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two processes with a thread each: threads of two would wait for each other on two cores. Property
# tests draw the same examples each time, so that a change is judged alone; test-all draws anew.
test: check
	failed=0; \
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --hypothesis-profile=ci -m 'not slow and not alone' || failed=1; \
	$(BIN)/pytest -m 'alone and not slow' || failed=1; \
	exit $$failed

# With Horovod, too, where scripts/build-horovod.sh has built it.
test-all: check
	failed=0; \
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m 'not alone' || failed=1; \
	$(BIN)/pytest -m alone || failed=1; \
	exit $$failed

# Pages of the docs, with search, to read offline: out/docs/index.html. The commands' page is written anew.
docs: dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/typer anomalyst.cli.main utils docs --name anomalyst --title Commands --output docs/commands.md
	$(BIN)/mkdocs build --quiet --strict

# The six notebooks as they are, at their own sizes; what their cells show is kept in the files.
notebooks: dev
	$(BIN)/python scripts/execute_notebooks.py

clean:
	rm -rf .venv out .pytest_cache .mypy_cache .ruff_cache
