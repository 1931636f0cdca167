# `make demo` shows the product at work, `make test` checks it; both set up what they need.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# Two workers more than processors, because many tests wait for services and processes that they start.
WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 2)')
PYTEST := $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder
QUICK := -m "not slow" --hypothesis-profile=quick
COVERAGE ?= --cov --cov-report=term

# The matrices of tests are small: more threads would only wait for each other.
test test-all test-lowest quick: export OMP_NUM_THREADS = 1

# Beside the tests: the type checker takes half a minute where it has not looked before. What it says stands at the end.
CHECKED = mkdir -p build; $(BIN)/mypy > build/mypy.txt 2>&1 & types=$$!; $(1); tests=$$?; \
	wait $$types; types=$$?; cat build/mypy.txt; exit $$((tests || types))

.PHONY: demo docs test test-all test-lowest quick lint style clean

demo: .venv/demo.stamp
	$(BIN)/msde demo

# The site, in build/site: broken links and unresolved names are errors. `make test-all` builds it too.
docs: .venv/docs.stamp
	$(BIN)/sphinx-build -q -W --keep-going -c docs . build/site
	@echo "build/site/index.html"

test: style
	$(call CHECKED,$(PYTEST))

quick: lint
	$(PYTEST) $(QUICK)

# Every extra, every test; what is missing is a failure. Lines are counted of the quick tests alone, because before
# Python 3.12 counting slows tests down a lot.
test-all: export MSDE_TEST_ALL = 1
test-all: .venv/all.stamp style
	$(call CHECKED,($(PYTEST) -m "not slow" $(COVERAGE); quick=$$?; $(PYTEST) -m slow && exit $$quick))

# The oldest libraries that pyproject.toml allows, in an environment of their own.
test-lowest:
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[test]'
	.venv-lowest/bin/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(QUICK)

lint: style
	$(BIN)/mypy

style: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml
	$(PIP) --editable '.[demo]'
	touch $@

.venv/docs.stamp: .venv/bin/python pyproject.toml
	$(PIP) --editable '.[docs]'
	touch $@

.venv/test.stamp: .venv/bin/python pyproject.toml
	$(PIP) --editable '.[test]'
	touch $@ .venv/demo.stamp

.venv/all.stamp: .venv/bin/python pyproject.toml
	$(PIP) --editable '.[dev]'
	$(BIN)/pip wheel --quiet --disable-pip-version-check --wheel-dir .venv/wheels '.[demo,serve]' hatchling
	touch $@ .venv/docs.stamp .venv/test.stamp .venv/demo.stamp

clean:
	rm -rf .venv .venv-lowest build msde-demo
