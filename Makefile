# `make demo` shows the product at work, `make test` checks it; both set up what they need.
PYTHON ?= python3
BIN := .venv/bin

# The matrices of tests are small: more threads would only wait for each other.
test quick: export OMP_NUM_THREADS = 1

.PHONY: demo test quick lint clean

demo: .venv/demo.stamp
	$(BIN)/msde demo

test: lint
	$(BIN)/pytest -q -n auto --dist loadfile

quick: lint
	$(BIN)/pytest -q -n auto --dist loadfile -m "not slow"

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ .venv/demo.stamp

clean:
	rm -rf .venv msde-demo
