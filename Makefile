# Everything sets itself up in .venv: `make demo` and `make test` are all a fresh machine needs (Python >= 3.11 with venv).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
UPGRADE ?= --upgrade # make lock UPGRADE= adds what is new and leaves the rest

.DEFAULT_GOAL := help
.PHONY: help demo quick test lint matrix bench docs lock wheel clean

help:
	@echo "make demo    run the whole thing on embedded parts: sample events in, a stand-in CRM out"
	@echo "make quick   run the unit and property tests"
	@echo "make test    run all tests"
	@echo "make lint    ruff, mypy --strict, import-linter"
	@echo "make matrix  print which odd inputs each source is tried with"
	@echo "make bench   print the benchmarks' ratios"
	@echo "make docs    bring the generated parts of the documentation up to date"
	@echo "make lock    pin the dependencies (requirements.lock)"
	@echo "make wheel   build dist/*.whl"

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	$(BIN)/syncd demo

# Fewer Hypothesis examples, no servers, no processes: for the edit-run loop.
quick: $(STAMP)
	SYNCD_QUICK=1 $(BIN)/pytest -q -n $(JOBS) $(PYTEST) tests/unit tests/properties

test: $(STAMP)
	$(BIN)/pytest -n $(JOBS) --dist loadgroup $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

matrix: $(STAMP)
	$(BIN)/python -m tests.source_matrix

bench: $(STAMP)
	$(BIN)/python -m bench

docs: $(STAMP)
	$(BIN)/python -m tests.docs.generate

lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --group test --group lint --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-annotate --quiet $(UPGRADE) --output-file requirements.lock

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
