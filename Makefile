PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lowest lint types conformance clean

# An environment is made again whenever the files that it is made from change. .lowest has the
# lowest versions that pyproject.toml allows; CI need not run it with every change.
.venv/ready: constraints.txt pyproject.toml
.lowest/ready: constraints-lowest.txt pyproject.toml
.venv/ready .lowest/ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $< "pip>=25.1" "hatchling>=1.27" editables
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $< --no-build-isolation --group dev -e ".[plot,progress]"
	touch $@

demo: .venv/ready
	$(BIN)/python benchmarks/pca.py --figure output/digits.png

test: .venv/ready
	$(BIN)/python -m pytest -n 2 -m "not full"

lowest: .lowest/ready
	.lowest/bin/python -m pytest -n 2 -m "not full"

conformance: .venv/ready
	$(BIN)/python -m pytest -n 2 -m full

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

clean:
	rm -rf .venv .lowest output
