# Two commands for a newcomer: `make demo` and `make test`. Each does its own set-up.
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
SHELL := bash
INSTALL = set -o pipefail; $(BIN)/python -m pip install --constraint envs/constraints.txt --editable
# Show what pip collects, fetches (with sizes) and builds; hide what is there already, where pip looks
# and what it ignores.
SHOWN = 2> >(grep -v 'is ignored' >&2) | grep -vE "^(Requirement already|Looking in)|: finished"
DEMO = $(BIN)/snakemake --configfile config/demo.yaml --cores $(CORES)
# One run at a time, also of jobs that outlive a killed Snakemake: the kernel frees this lock when
# the last of them ends, so nothing has to be unlocked by hand. Without flock, Snakemake's own lock.
ifneq ($(shell command -v flock),)
  DEMO := mkdir -p .snakemake && flock .snakemake/demo.lock $(DEMO) --nolock
endif

.PHONY: help demo open report test cluster drill lint audit format document clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: .venv/demo ## the whole study, small: phantom heads to tables and figures (7 to 12 minutes on 2 quiet cores)
	$(DEMO) all
	@echo "Tables:  results/demo/tables"
	@echo "Figures: results/demo/figures"

open: .venv/demo ## the open study, real brains: its trainings want a GPU (docs/open-study.md)
	$(BIN)/snakemake --configfile config/open.yaml --cores $(CORES) all
	@echo "Tables:  results/open/tables"

report: demo ## the demo's report, one HTML file, after the demo itself
	$(DEMO) all --report results/demo/report.html
	@echo "Report:  results/demo/report.html"

test: .venv/dev ## all tests
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadscope --no-loadscope-reorder

cluster: .venv/dev ## the tests on a SLURM of one node that they start, the whole tiny study among them
	$(BIN)/python -m pytest tests/cluster -m 'long or not long'

drill: .venv/dev ## kill each stage of the tiny study before and after each file it finishes
	$(BIN)/python -m pytest tests/workflow/test_renames.py -m long

lint: .venv/dev ## formatting, rules, types; tells of vulnerable packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/python -m mypy
	$(BIN)/snakemake --lint --configfile config/demo.yaml
	@$(BIN)/python .ci/audit || true  # told, but no fault of what is checked in

audit: .venv/dev ## known vulnerabilities of the pinned packages, where they can be asked for
	@$(BIN)/python .ci/audit

format: .venv/dev ## put code and rules in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

document: .venv/demo ## write the generated configuration, schema and reference pages again
	$(BIN)/python -m wfdm.config.document
	$(BIN)/python -m wfdm.cli.document

clean: ## remove the demo's results (not the environment, not the study's results)
	rm -rf results/demo

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "wfdm needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml envs/constraints.txt
	@echo "Installing the environment into .venv: about 190 packages, 1 to 5 minutes"
	@$(INSTALL) '.[all]' $(SHOWN)
	@touch $@

.venv/dev: .venv/demo
	@echo "Installing what the tests need"
	@$(INSTALL) '.[all,dev]' $(SHOWN)
	@touch $@
