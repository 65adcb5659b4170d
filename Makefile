# Everything goes through .venv, which `make` builds from requirements.txt the first time.
PYTHON ?= python3
BIN := .venv/bin
# uv does not read pip's settings: hand it the same extra places for wheels
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install scale demo up down status test lint format lock clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: .venv/installed  ## build .venv from requirements.txt

.venv/installed: requirements.txt pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --editable .
# built on the way to the .dist-info; with both in sight Airflow would register the plugin twice
	@rm -rf src/augrec.egg-info
	@touch $@

scale: install  ## add what the profiles for several hosts need
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-scale.txt

demo: install  ## the whole thing on MovieLens 100k: data, platform, retrain, result
	@$(BIN)/augrec demo

up: install  ## start Airflow and MLflow
	@$(BIN)/augrec up

down: install  ## stop them
	@$(BIN)/augrec down

status: install  ## what runs, where, and the latest runs
	@$(BIN)/augrec status

test: install  ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install  ## ruff, mypy and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install  ## let ruff put everything in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: install  ## compile requirements.in into requirements.txt
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --upgrade-package torch requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 requirements-scale.in | grep -vxFf requirements.txt > requirements-scale.txt
	@sed -i.bak 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.txt && rm requirements.txt.bak

clean: down  ## stop everything and remove what runs made: databases, workspaces, caches
	rm -rf var data/raw data/raw.dvc models/champion.dvc models/taste_groups.dvc data/validated data/quarantine data/prepared data/features data/training_set data/taste_groups \
		data/config data/synthetic data/augmented models reports .dvc/cache .dvc/tmp dvc.lock
