# make train   set up everything and run the main job: prepare, train on ranks, gate, report
# make test    set up everything and pass the checks and tests
# Options:     DATASET=demo|ml-100k|ml-1m|ml-20m|...  NP=4  PRESET=...  ARGS="..."  RUN=runs/name

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$p" && break; done)
DATASET ?= demo
NP ?= 4
PRESET ?= $(if $(filter demo,$(DATASET)),quick,paper)
RUN ?= runs/vaecf-$(DATASET)-$(shell date +%Y%m%d-%H%M%S)
ARGS ?=
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export OPAL_PREFIX := $(CURDIR)/$(VENV)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export OMPI_MCA_mpi_yield_when_idle := 1
export TF_CPP_MIN_LOG_LEVEL := 2

.PHONY: help setup data train test check lint bench clean

help:
	@sed -n '1,3s/^# //p' Makefile

setup:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10, 3.11 or 3.12 found: sudo apt-get install -y python3 python3-venv python3-dev"; exit 2; }
	@"$(PYTHON)" horovod_launch/install.py

data: setup
	@if [ "$(DATASET)" = demo ]; then python -m data_prep synthetic --like demo --out data/demo; \
	else python -m data_prep "$(DATASET)" --download --out "data/$(DATASET)"; fi

train: data
	horovodrun -np $(NP) python -m vaecf.train --data "data/$(DATASET)" --run-dir "$(RUN)" --preset $(PRESET) $(ARGS)

lint: setup
	@ruff check .
	@ruff format --check .
	@mypy data_prep recsys_core vaecf horovod_launch benchmarks

test: lint
	@python -m pytest

bench: setup
	@python -m benchmarks --help

clean:
	rm -rf $(VENV) build *.egg-info
