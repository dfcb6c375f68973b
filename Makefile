# make quickstart   set up, run the whole path, say where the report is
# make standard     set up, and run the recipe with two engines and all checks
# make model        set up, and rebuild the model in the package (needs flite, see docs/default.md)
# make demo         set up, and open the demo page on this machine
# make docs         set up, build the documentation site, and say where it is
# make test         set up, then lint, types and the fast tests
# make hardness     set up, then kills, damage, full disks, hostile files and crowds, with their counts
# make slow         set up, then the tests of pages, site, notebook, browser and kills
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart standard model demo docs test lint unit slow hardness bench figures readme clean

quickstart: .venv/run-ready
	$(BIN)/intervox run quickstart

# Espeak and Kokoro, every check on: about an hour of synthesis on two cores.
standard: .venv/standard-ready
	$(BIN)/intervox assets kokoro
	$(BIN)/intervox run standard

# The model that comes with the package: corpus, training, evaluation, then the folder with its hashes.
model: .venv/model-ready
	$(BIN)/intervox assets kokoro
	$(BIN)/intervox run default
	$(BIN)/python benchmarks/calibrate.py --model runs/default

demo: .venv/demo-ready
	$(BIN)/intervox demo

docs: .venv/docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html; search needs a server: $(BIN)/python -m http.server -d build/site"

test: lint unit

lint: .venv/dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python tools/prose.py

# A worker a core, and a thread a worker.
unit: .venv/dev-ready
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow"

# CI leaves those marked `long` out, which take minutes and nearly always fail together with others.
SLOW := slow
slow: .venv/dev-ready
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "$(SLOW)"

# Kills, damage, full disks, hostile files and crowds: the counts go into docs/hardness.md. SHARE=0.01 for a try.
SHARE := 1
hardness: .venv/dev-ready
	$(BIN)/python -m hardness --share $(SHARE)

bench: .venv/dev-ready
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/synthesis.py
	$(BIN)/python benchmarks/verification.py
	$(BIN)/python benchmarks/loss.py
	$(BIN)/python benchmarks/light.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/spotting.py
	$(BIN)/python benchmarks/typed.py
	$(BIN)/python benchmarks/wake_words.py
	$(BIN)/python benchmarks/identification.py --peers
	$(BIN)/python benchmarks/thresholds.py

# The figures of the pages, and the measured table of docs/conditions.md.
figures: .venv/dev-ready
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/conditions.py
	$(BIN)/python benchmarks/concepts.py

# The tables of docs/evidence.md, written from the last quickstart run.
readme: .venv/run-ready
	$(BIN)/intervox tables runs/quickstart --of all --into docs/evidence.md

clean:
	rm -rf .venv runs

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Intervox needs Python 3.11 or later: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv

.venv/run-ready: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e ".[espeak,offline]"
	touch $@

.venv/standard-ready: .venv/run-ready
	$(INSTALL) -e ".[espeak,offline,kokoro,quality,baselines,peers]"
	touch $@

.venv/model-ready: .venv/standard-ready
	$(INSTALL) -e ".[piper,voices,adapt,export]"
	touch $@

.venv/demo-ready: .venv/run-ready
	$(INSTALL) -e ".[espeak,offline,demo]"
	touch $@

.venv/docs-ready: .venv/run-ready
	$(INSTALL) -e ".[docs]"
	touch $@

# What the tests import is compiled then: all of it would take a minute.
.venv/dev-ready: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) --no-compile -e ".[dev]"
	touch $@
