# The one vocabulary: people, CI and hooks call these.
PYTHON ?= python3
BIN := .venv/bin
ENGINES := .venvs

.PHONY: help install engine-vllm engine-vllm-0.23.0 engine-lmdeploy engine-transformers locks run up down programs test test-all test-models unit lint format \
  type check demo-train demo-eval bench bench-store bench-usage bench-batching bench-autoscaling bench-replica-model bench-gpu loadtest k8s-check k8s-golden torture torture-fleet \
  soak mutations clean

help:           ## this list
	@grep -E '^[a-z0-9.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

install: .venv/made  ## the base environment (no torch)

.venv/made: pyproject.toml environments/base.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m environments.installer --quiet --constraint environments/base.txt --editable '.[dev]'
	touch $@

engine-vllm: install  ## the vLLM environment: the GPU build where there is a GPU, else the CPU build
	@$(BIN)/python -m environments.engine vllm $(ENGINES)

engine-lmdeploy: install  ## the LMDeploy environment, in the same way
	@$(BIN)/python -m environments.engine lmdeploy $(ENGINES)

engine-transformers: install  ## our own server over Transformers, for what no engine serves right
	@$(BIN)/python -m environments.engine transformers $(ENGINES)

engine-vllm-0.23.0: install  ## the last vLLM that has Qwen-VL
	@$(BIN)/python -m environments.engine vllm-0.23.0 $(ENGINES)

locks: install  ## resolve what the GPU environments consist of; needs an index, no GPU
	$(BIN)/python -m environments.locks

run: install engine-vllm engine-lmdeploy  ## start everything here, in the foreground; Ctrl-C stops all of it
	@$(BIN)/vlmfleet run

up: install engine-vllm engine-lmdeploy  ## the same in the background; returns when the first answer can be had
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

programs:       ## Debian's packages that some tests want: Redis and Prometheus' promtool. As root
	@{ command -v redis-server && command -v promtool; } >/dev/null || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server prometheus; }

test: install engine-vllm engine-lmdeploy engine-transformers check  ## all that CI runs, real engines and whole fleets included; says how long it took
	$(BIN)/pytest --durations=5

test-all: test test-models  ## the same, then every card's architecture on its engine

test-models: install engine-vllm engine-vllm-0.23.0 engine-lmdeploy engine-transformers  ## every card's architecture, tiny, on its engine; keeps the table
	VLMFLEET_WRITE_MODELS=1 $(BIN)/pytest tests/models -m models

demo-train: engine-vllm  ## train the demo models on this machine's CPU: one to two hours each
	HF_HUB_OFFLINE=1 $(ENGINES)/vllm/bin/python -m demo.train qwen2-vl --out demo/qwen2-vl
	HF_HUB_OFFLINE=1 $(ENGINES)/vllm/bin/python -m demo.train internvl2 --out demo/internvl2 --steps 3000 --taught-by demo/qwen2-vl

demo-eval: install engine-vllm engine-lmdeploy  ## exact answers of both demo models on 1,000 held-out images
	$(BIN)/python -m demo.evaluate demo-qwen2-vl
	$(BIN)/python -m demo.evaluate demo-internvl2

bench: install engine-vllm  ## the bare engine, ray.serve.llm and vlmfleet, side by side
	$(BIN)/python -m benchmarks.overhead

bench-store: install  ## settles a second of the ledger's stores
	$(BIN)/python -m benchmarks.store

bench-usage: install  ## usage pages over a ledger of five million entries
	$(BIN)/python -m benchmarks.usage

bench-batching: install engine-vllm  ## fairness, affinity and overload, with the batch former and without
	$(BIN)/python -m benchmarks.batching

TRACES ?= traces

bench-autoscaling: install  ## policies on real traces: GPU-hours beside the best schedule
	$(BIN)/python -m benchmarks.autoscaling $(TRACES)

bench-replica-model: install engine-vllm  ## the simulator's replica model against the engine, at loads it was not fitted on
	$(BIN)/python -m benchmarks.replica_model

USD_PER_HOUR ?= 4.59

bench-gpu: install engine-vllm engine-lmdeploy  ## random weights at real size on the GPU here: images/s, TTFT, memory, measured prices
	$(BIN)/python -m benchmarks.gpu --usd-per-hour $(USD_PER_HOUR)

RATE ?= 3
SECONDS ?= 60
SLO ?= ttft=2000,tpot=100
TRACE ?= traces/servegen-mm-image.tar.xz

loadtest: install  ## a minute of a real trace against `make up`, and whether the SLO was kept
	@VLMFLEET_KEY=$${VLMFLEET_KEY:-$$(cat .vlmfleet/key)} $(BIN)/locust -f loadtests/locustfile.py --headless --only-summary \
	  --host http://127.0.0.1:$${VLMFLEET_PORT:-8000} --trace $(TRACE) --rate $(RATE) --seconds $(SECONDS) --slo $(SLO) \
	  --side-max 112 --text-max 64 --output-max 32

k8s-check: install  ## manifests, images and Serve config: no cluster, no network
	$(BIN)/pytest -q tests/k8s

k8s-golden: install  ## manifests from the cards, and the committed renders; says what each change does to a cluster
	@$(BIN)/vlmfleet k8s render
	@$(BIN)/python -m tests.k8s.golden

torture: install  ## kill a fleet at every failpoint, 200 times, and audit its ledger
	$(BIN)/vlmfleet ledger torture --seeds 200

SOAK_SECONDS ?= 600

soak: install engine-vllm engine-lmdeploy  ## ten minutes of every attack at once, beside an honest client who must not notice
	$(BIN)/python -m tests.soak --seconds $(SOAK_SECONDS)

torture-fleet: install  ## kill everything in a fleet, alone and in pairs, ten times each, and see it come back: some hours
	$(BIN)/vlmfleet torture --times 10

mutations: install  ## take each guard of the money path away, and see a test turn red: some minutes
	$(BIN)/python -m tests.torture.mutations

clean:          ## remove the environments
	rm -rf .venv $(ENGINES)
