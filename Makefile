# Works from a bare clone on Debian 12 with Python (3.11 to 3.13), git and make; everything else goes into $(VENV).
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.stamp
export PATH := $(BIN):$(PATH)
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup demo check lint test docs site clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1 \t/' | expand -t 16

setup: $(STAMP) ## make the virtual environment, with models and tests

$(STAMP): pyproject.toml .ci/setup
	.ci/setup $(VENV)

demo: $(STAMP) ## the main job: layer 12 of SmolLM2-135M, then a whole tiny model, to verified SystemVerilog, in build/
	$(BIN)/lutllm compile smollm2-135m --layers 12 -o build/demo
	$(BIN)/lutllm compile tiny-llama --target tiny --text LICENSE --calibration-tokens 2048 -o build/demo-model
	@echo "open build/demo-model/reports/schedule.html: every task of the run, cycle by cycle"

check: $(STAMP) ## every check; as root on Debian, installs missing simulators first
	.ci/simulators
	$(BIN)/cmake -S . -B build/cmake -DPython_EXECUTABLE=$(BIN)/python
	$(BIN)/cmake --build build/cmake --target check-lutllm

lint: $(STAMP) ## ruff and mypy
	$(BIN)/python test/run.py lint types

test: $(STAMP) ## lit and pytest
	$(BIN)/python test/run.py lit pytest

docs: $(STAMP) ## write the generated documentation again
	$(BIN)/python -m lutllm.tools.gen_docs
	$(BIN)/python -m lutllm.tools.gen_notebook

site: $(STAMP) ## the documentation as a site, in build/site
	$(BIN)/mkdocs build -f tools/site.yml
	@echo "open build/site/index.html"

clean: ## remove what was built; the virtual environment stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
