PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types conformance clean

# The environment is made once and again whenever what it is made from changes.
.venv/ready: constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "pip>=25.1" "hatchling>=1.27" editables
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation --group dev -e ".[plot,progress]"
	touch $@

demo: .venv/ready
	$(BIN)/python benchmarks/pca.py --figure output/digits.png

test: .venv/ready
	$(BIN)/python -m pytest -n 2 -m "not full"

conformance: .venv/ready
	$(BIN)/python -m pytest -n 2 -m "conformance or full"

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

clean:
	rm -rf .venv output
