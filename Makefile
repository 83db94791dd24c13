# On a machine with Python 3.11+ and nothing else, each target sets up .venv first (scripts/setup.sh).
#
#   make PYTHON=python3.12 test       another interpreter
#   make test ARGS="-k pod5 -x"       arguments for the program behind the target

SHELL := bash
BIN := .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench constraints clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo:  ## built-in POD5 sample -> train -> compress -> decompress -> evaluate -> report
	@scripts/setup.sh
	$(BIN)/anycodec demo $(ARGS)

test:  ## all tests
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 8 --dist worksteal --durations 15 $(ARGS)

lint:  ## style, types and the direction of imports
	@scripts/setup.sh lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs:  ## the manual, into site/
	@scripts/setup.sh docs
	$(BIN)/python scripts/config_reference.py
	$(BIN)/zensical build --clean --strict $(ARGS)

bench:  ## every benchmark, results as JSON
	@scripts/setup.sh test benchmarks
	@set -e; for script in benchmarks/[a-z]*.py; do echo "$$script"; $(BIN)/python "$$script" $(ARGS); done

constraints:  ## write constraints.txt again (ARGS=--upgrade moves all versions)
	scripts/constraints.sh $(ARGS)

clean:  ## remove the environment and everything that was built
	rm -rf .venv .cache build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
