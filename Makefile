PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test coverage lowest lint types conformance docs docs-test clean

help: ## list the targets
	@grep -E "^[a-z-]+:.*##" Makefile | sed "s/:.*## /\t/" | expand -t 14

# An environment is made again whenever the files that it is made from change. .lowest has the
# lowest versions that pyproject.toml allows.
.venv/ready: constraints.txt pyproject.toml
.lowest/ready: constraints-lowest.txt pyproject.toml
.venv/ready .lowest/ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $< "pip>=25.1" "hatchling>=1.27" editables
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $< --no-build-isolation --group dev -e ".[plot,progress,compression,onnx,dask]"
	touch $@

# What builds the documentation is installed into the same environment when it is first needed.
.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group docs
	touch $@

demo: .venv/ready ## compare test errors with PCA's, and draw output/digits.png
	$(BIN)/python benchmarks/pca.py --figure output/digits.png

test: .venv/ready ## run the tests, without the slow ones
	$(BIN)/python -m pytest -n 2 -m "not full and not site" $(PYTEST_ARGS)

coverage: ## run the same tests, and fail below 95 % branch coverage of skae/
	$(MAKE) test PYTEST_ARGS="--cov --cov-report=term-missing:skip-covered --cov-fail-under=95"

lowest: .lowest/ready ## run the same tests with the lowest versions of the dependencies
	.lowest/bin/python -m pytest -n 2 -m "not full and not site"

conformance: .venv/ready ## run the slow tests: scikit-learn's checks of every estimator
	$(BIN)/python -m pytest -n 2 -m full

docs: .venv/docs ## build the documentation site in output/site; any warning is an error
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -d output/doctrees docs output/site

docs-test: docs ## check the built site in a browser (an installed Chromium or Chrome)
	$(BIN)/python -m pytest -m site tests/site

lint: .venv/ready ## check style and formatting with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready ## check types with mypy
	$(BIN)/mypy

clean: ## remove the environments and outputs
	rm -rf .venv .lowest output .coverage docs/api docs/auto_examples docs/backreferences
