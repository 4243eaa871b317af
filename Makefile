# All that a fresh machine needs is Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file stays with one process, which makes its fixtures once; tests/conftest.py has the longest files first. Bytecode is kept, as tests start hundreds of processes.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder
CHECKED := maskstream tools tests run_stream.py setup.py

.PHONY: demo test test-slow test-all check lint types docs format constraints clean

demo: $(VENV)/ready  ## the main job on the clip that comes with the program
	@mkdir -p out
	$(BIN)/python run_stream.py --source assets/demo.mp4 --output out/demo.mp4 --jsonl out/demo.jsonl --csv out/demo.csv
	@echo "Look at out/demo.mp4; the records are in out/demo.jsonl and out/demo.csv."

test: $(VENV)/ready-dev  ## the tests of every day
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/ready-dev  ## the long ones: the whole fault drill, real trainings, long outages, sweeps
	$(PYTEST) -m slow

test-all: test test-slow  ## every test

check: lint types docs test  ## what CI runs, with test-slow after it

lint: $(VENV)/ready-dev
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)

types: $(VENV)/ready-dev
	$(BIN)/mypy

docs: $(VENV)/ready-dev  ## the documentation as a site, in out/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "Look at out/site/index.html. With a search: $(BIN)/python -m http.server -d out/site"

format: $(VENV)/ready-dev  ## bring the code into shape
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)

constraints: $(VENV)/ready-dev  ## constraints.txt: the versions that are installed here, once `make check` has passed
	$(BIN)/python tools/make_constraints.py

clean:
	rm -rf $(VENV) out

$(VENV)/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "maskstream needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt requirements-fleet.txt requirements-web.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
