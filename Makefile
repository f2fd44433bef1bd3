# make train   set up everything and run the main job: prepare, train on ranks, gate, report
# make test    set up everything and pass the checks and tests
# make retrain train anew, convert, verify, and publish to models/ if it is not worse than what is served there
# make serve   start a Triton server on models/
# make docs    build the documentation site into build/site (tests build it too)
# make bench   measure everything side by side and write runs/benchmarks.html (ARGS="--quick": a first look)
# make bench-check  test whether a step, evaluation, serving or preparation became slower (a few minutes; for CI too)
# make test-gpu  test and measure one NVIDIA GPU in at most eight minutes (ARGS="--cpu": try it without one)
# Options:     MODEL=vae|ncf  DATASET=demo|ml-latest-small|ml-100k|ml-1m|ml-20m|...  NP=4  PRESET=...  ARGS="..."  RUN=runs/name
#              (NP: ranks; without it one a GPU, or 4 where there is none)
#              REPOSITORY=models  URL=127.0.0.1:8000 (a running server that should change over)
#              WORKERS=2 (processes that run the tests)

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$p" && break; done)
MODEL ?= vae
DATASET ?= demo
# Each GPU has one rank. On data this small, ranks would wait for each other's gradients most of the time.
GPUS = $(filter-out 0,$(shell "$(PYTHON)" horovod_launch/gpus.py))
NP ?= $(if $(filter ml-latest-small ml-100k,$(DATASET)),1,$(or $(GPUS),4))
PACKAGE := $(if $(filter ncf,$(MODEL)),ncf_tf,vaecf)
PRESET ?= $(if $(filter demo,$(DATASET)),quick,$(if $(filter ncf,$(MODEL)),he2017,paper))
PROTOCOL := $(if $(filter ncf,$(MODEL)),leave-one-out,default)
DATA := data/$(DATASET)$(if $(filter ncf,$(MODEL)),-ncf)
RUN ?= runs/$(PACKAGE)-$(DATASET)-$(shell date +%Y%m%d-%H%M%S)
ARGS ?=
REPOSITORY ?= models
URL ?=
WORKERS ?= 2
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export OPAL_PREFIX := $(CURDIR)/$(VENV)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export OMPI_MCA_mpi_yield_when_idle := 1
export TF_CPP_MIN_LOG_LEVEL := 2

.PHONY: help setup data train retrain serve test lint docs bench bench-check test-gpu clean

help:
	@sed -n '1,11s/^# //p' Makefile

setup:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10, 3.11 or 3.12 found: sudo apt-get install -y python3 python3-venv python3-dev"; exit 2; }
	@"$(PYTHON)" horovod_launch/install.py

data: setup
	@case "$(MODEL)" in vae|ncf) ;; *) echo "error: MODEL is $(MODEL), expected vae or ncf"; exit 2;; esac
	@if [ "$(DATASET)" = demo ]; then source="synthetic --like demo"; else source="$(DATASET) --download"; fi; \
	python -m data_prep $$source --protocol $(PROTOCOL) --out "$(DATA)"

train: data
	python -m horovod_launch run -np $(NP) $(PACKAGE).train -- --data "$(DATA)" --run-dir "$(RUN)" --preset $(PRESET) $(ARGS)

retrain: data
	python -m horovod_launch run -np $(NP) $(PACKAGE).train -- --data "$(DATA)" --run-dir "$(RUN)" --preset $(PRESET) --convert onnx $(ARGS)
	python -m serving publish --export "$(RUN)/export" --repository "$(REPOSITORY)" --name $(PACKAGE) $(if $(URL),--url $(URL))

serve: setup
	python -m serving triton serve --repository "$(REPOSITORY)"

lint: setup
	@ruff check .
	@ruff format --check .
	@mypy data_prep recsys_core vaecf ncf_tf serving horovod_launch benchmarks load_study examples docs

# On a machine with a GPU: all tests on its CPUs, as everywhere, then those of the core on the GPU.
HAS_GPU = nvidia-smi -L 2>/dev/null | grep -q GPU
test: lint
	@CUDA_VISIBLE_DEVICES= python -m pytest -n $(WORKERS) --dist loadgroup $$($(HAS_GPU) && echo --ignore=tests/gpu)
	@if $(HAS_GPU); then python -m benchmarks gpu --only tests --minutes 20; fi

docs: setup
	@python -m docs.build

bench: setup
	python -m data_prep synthetic --like ml-20m-prepared --held-out-users 10000 --out data/bench
	python -m benchmarks suite --data data/bench $(ARGS)

# A machine that is too busy to judge (status 4) is no failure; a slower part is.
bench-check: setup
	@python -m benchmarks check --folder runs/bench-check $(ARGS) || { status=$$?; [ $$status -eq 4 ] || exit $$status; }

test-gpu: setup
	@python -m benchmarks gpu $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info
