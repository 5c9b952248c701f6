# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Every target calls one script. V=1 shows a stage's output as it comes; PYTHON_NEW and PYTHON_OLD name interpreters.

STAGES = sanity peers eda slices browser lint second-opinion docs build unit integration molecule

.DEFAULT_GOAL = help
.PHONY: help setup demo test $(STAGES) chaos fuzz bench format generate clean clean-all

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## the environments, once: about a minute
	@tools/env.sh new old

demo: ## wrong clocks and locked VMs of a simulated fleet, found, repaired and proved: a minute or two
	@tools/with_env.sh demo tools/demo.sh

test: ## everything below down to build, on the oldest and the newest ansible-core: 35 minutes
	@tools/run.sh $(STAGES)

lint: ## ruff, mypy, yamllint, ansible-lint, licences, changelog, generated files: a minute
	@tools/run.sh $@

sanity: ## ansible-test sanity: 3 minutes
	@tools/run.sh $@

unit: ## unit and property tests, oldest and newest: 2 minutes
	@tools/run.sh $@

integration: ## the modules against the simulator, 960 fault schedules, CPU: 15 minutes
	@tools/run.sh $@

molecule: ## every scenario in extensions/molecule, two at a time: 8 to 30 seconds a scenario
	@tools/run.sh $@

second-opinion: ## the client against govmomi's vcsim (Go from Debian): seconds, 1 minute the first time
	@tools/run.sh $@

peers: ## other people's modules against our simulator: 2 minutes, 3 the first time
	@tools/run.sh $@

eda: ## the event source, and ansible-rulebook (Java) with it: 2 minutes, 3 the first time
	@tools/run.sh $@

slices: ## four runner workers, the execution environment, job definitions: 2 minutes
	@tools/run.sh $@

browser: ## the report page in headless Chromium (from Debian): a minute or two
	@tools/run.sh $@

docs: ## the documentation site, its links, every command on it: 2 minutes
	@tools/run.sh $@

build: ## tarball, clean install, verify, ansible-doc, galaxy-importer: a minute
	@tools/run.sh $@

chaos: ## thousands of fault schedules (CHAOS_RUNS=3000): long
	@tools/run.sh $@

fuzz: ## licence keys spoilt at random, a million (FUZZ_RUNS=1000000): 2 minutes
	@V=1 tools/run.sh $@

bench: ## figures beside other collections, table and JSON: a quarter of an hour; BENCH=full: two to three hours
	@V=1 tools/run.sh $@

format: ## let ruff rewrite the Python files: a second
	@tools/with_env.sh new tools/format.sh

generate: ## rewrite what is generated: seconds
	@tools/with_env.sh new python tools/generate.py

clean: ## remove logs, build results and caches; the environments stay
	@tools/clean.sh

clean-all: ## remove the environments too
	@tools/clean.sh all
