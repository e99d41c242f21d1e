# make demo and make test each work alone on a machine that has Python 3.11 or newer, and nothing else.
PYTHON ?= $(shell command -v python3.11 || echo python3)
WORKERS ?= 2
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types suite docs notebooks bench format clean

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

setup: .venv/installed  ## make .venv and install the project with its tools

.venv/installed: pyproject.toml constraints/cpu.txt constraints/docs.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints/cpu.txt -c constraints/docs.txt -e ".[dev]"
	touch $@

demo: setup  ## train, score, evaluate and report on the embedded X-rays
	$(BIN)/anomaly demo --out demo_out

test: lint types suite docs  ## all that continuous integration runs

lint: setup  ## style and format, as they should be
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## static types
	$(BIN)/mypy

suite: setup  ## the tests, the notebooks (small) and the wheel among them
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations 15

docs: setup  ## build the pages into docs/_build/html, and check their links
	$(BIN)/python -m sphinx -W --keep-going --nitpicky --quiet docs docs/_build/html
	$(BIN)/python docs/_ext/check_links.py docs/_build/html

notebooks: setup  ## run the notebooks in full and keep what they print: more than an hour
	$(BIN)/python docs/_ext/run_notebooks.py notebooks/*.ipynb

bench: setup  ## measure the methods on real images: make bench DATA=FOLDER
	$(BIN)/python -m benchmarks $(DATA)

format: setup  ## bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what was made, .venv included
	rm -rf .venv dist demo_out .mypy_cache .pytest_cache .ruff_cache .hypothesis docs/_build docs/notebooks/*.ipynb
	find docs/api -name '*.rst' -delete
	find docs/gallery -mindepth 1 -not -path 'docs/gallery/scripts*' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
