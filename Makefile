# The one vocabulary: people, CI and hooks call these.
PYTHON ?= python3
BIN := .venv/bin
ENGINES := .venvs

.PHONY: help install engine-vllm engine-lmdeploy run up down test unit lint format type check demo-train demo-eval bench bench-store \
  bench-usage torture mutations clean

help:           ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

install: .venv/made  ## the base environment (no torch)

.venv/made: pyproject.toml environments/base.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --progress-bar off --constraint environments/base.txt --editable '.[dev]'
	touch $@

engine-vllm:    ## the vLLM environment: the GPU build where there is a GPU, else the CPU build
	@$(PYTHON) environments/engine.py vllm $(ENGINES)

engine-lmdeploy:  ## the LMDeploy environment, in the same way
	@$(PYTHON) environments/engine.py lmdeploy $(ENGINES)

run: install engine-vllm  ## start everything here, in the foreground; Ctrl-C stops all of it
	@$(BIN)/vlmfleet run

up: install engine-vllm  ## the same in the background; returns when the first answer can be had
	@$(BIN)/vlmfleet up

down:           ## stop it
	@$(BIN)/vlmfleet down

check: lint type  ## what needs no running

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: install
	$(BIN)/mypy

unit: install   ## tests without an engine
	$(BIN)/pytest --ignore=tests/e2e -m 'not engine'

test: install engine-vllm check  ## everything, the real engine included; says how long it took
	$(BIN)/pytest --durations=5

demo-train: engine-vllm  ## train the demo model on this machine's CPU: one to two hours
	HF_HUB_OFFLINE=1 $(ENGINES)/vllm/bin/python -m demo.train --out demo/qwen2-vl

demo-eval: install engine-vllm  ## exact answers of the demo model on 1,000 held-out images, through the engine
	$(BIN)/python -m demo.evaluate

bench: install engine-vllm  ## the bare engine, ray.serve.llm and vlmfleet, side by side
	$(BIN)/python -m benchmarks.overhead

bench-store: install  ## settles a second of the ledger's stores
	$(BIN)/python -m benchmarks.store

bench-usage: install  ## usage pages over a ledger of five million entries
	$(BIN)/python -m benchmarks.usage

torture: install  ## kill a fleet at every failpoint, 200 times, and audit its ledger
	$(BIN)/vlmfleet ledger torture --seeds 200

mutations: install  ## take each guard of the money path away, and see a test turn red: some minutes
	$(BIN)/python -m tests.torture.mutations

clean:          ## remove the environments
	rm -rf .venv $(ENGINES)
