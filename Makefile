# What a developer does here.  Needs Debian's python3 (3.11 or later) and make; all that is installed goes into .venv,
# from the pinned locks, but for the programs that the tests meet (tests/install_programs.sh).

PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := -m pip install -qq --no-deps --no-compile --disable-pip-version-check
PACKAGES := emulator/pyproject.toml on-prem-worker/pyproject.toml

TEMPLATES := aws-resources/template.yaml $(wildcard examples/*/template.yaml)

COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

export SAM_CLI_TELEMETRY := 0

.DELETE_ON_ERROR:
.PHONY: help demo up compose-demo compose-test test programs check format bench lock clean

help:
	@echo "make demo    run the whole loop once: an execution, through the worker, and back"
	@echo "make up      start the emulator and stay"
	@echo "make compose-demo   the loop in containers: Step Functions Local, Mosquitto, the emulator, the worker"
	@echo "make compose-test   test docker-compose.yml; as root on Debian it installs and starts Docker itself"
	@echo "make test    check, and run every test"
	@echo "make check   lint, formatting, types, and the template as AWS's tools see it"
	@echo "make format  format the sources"
	@echo "make bench   measure, beside the peers; ONLY=stepfunctions for one of the benchmarks"
	@echo "make lock    pin the newest dependencies that fit"
	@echo "make clean   remove all that these have made"

demo: .venv/.runtime
	@$(BIN)/stepbridge demo

up: .venv/.runtime
	@$(BIN)/stepbridge up

# In a project and on ports of its own, of which nothing is left.
compose-demo: export COMPOSE_PROJECT_NAME := stepbridge-demo
compose-demo: export HTTP_PORT := 0
compose-demo: export MQTT_PORT := 0
compose-demo:
	@trap '$(COMPOSE) down --volumes' EXIT; \
		$(COMPOSE) up --detach --build && $(COMPOSE) run --rm loop '{"a": 15, "b": 42}'

compose-test: .venv/.dev
	@tests/docker/run.sh

test: programs check .venv/mqttjs/.installed
	$(BIN)/pytest -q --numprocesses=2 --dist=loadfile

programs:
	@tests/install_programs.sh

check: .venv/.dev .venv/sam/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/cfn-lint $(TEMPLATES)
	for template in $(TEMPLATES); do \
		AWS_DEFAULT_REGION=us-east-1 .venv/sam/bin/sam validate --lint --template $$template || exit 1; \
	done

format: .venv/.dev
	$(BIN)/ruff check --fix --unsafe-fixes --select I
	$(BIN)/ruff format

bench: .venv/.dev .venv/peers/.installed
	$(BIN)/python -m benchmarks $(ONLY)

lock: .venv/.dev
	for set in requirements requirements-dev requirements-sam requirements-peers; do \
		$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
			--output-file $$set.lock $$set.in || exit 1; \
	done
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		--output-file on-prem-worker/requirements.lock on-prem-worker/pyproject.toml

clean:
	rm -rf .venv .stepbridge .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.egg-info' -prune -exec rm -rf {} +

# The environments.  An empty file in each says that it is complete, and is older than a lock that has changed since.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.runtime: requirements.lock $(PACKAGES) | $(BIN)/python
	@echo "Installing what the emulator and the worker need into .venv (once, up to a few minutes)"
	@$(BIN)/python $(PIP_INSTALL) -r requirements.lock
	@touch $@

.venv/.dev: requirements-dev.lock $(PACKAGES) | $(BIN)/python
	@echo "Installing the emulator, the worker and the tools that check them into .venv (once, up to a few minutes)"
	@$(BIN)/python $(PIP_INSTALL) -r requirements-dev.lock
	@touch .venv/.runtime $@

.venv/peers/.installed: requirements-peers.lock | $(BIN)/python
	@echo "Installing the systems that the benchmarks compare with into .venv/peers (once, up to a few minutes)"
	@$(PYTHON) -m venv .venv/peers
	@.venv/peers/bin/python $(PIP_INSTALL) -r requirements-peers.lock
	@touch $@

# MQTT.js, one of the clients that the tests meet the gateway with; node_modules belongs beside the other environments.
MQTTJS := tests/e2e/clients/mqttjs
.venv/mqttjs/.installed: $(MQTTJS)/package.json $(MQTTJS)/package-lock.json | programs $(BIN)/python
	@echo "Installing MQTT.js into .venv/mqttjs (once, some seconds)"
	@mkdir -p .venv/mqttjs && cp $(MQTTJS)/package.json $(MQTTJS)/package-lock.json .venv/mqttjs
	@cd .venv/mqttjs && npm ci --silent --no-audit --no-fund
	@touch $@

.venv/sam/.installed: requirements-sam.lock | $(BIN)/python
	@echo "Installing the AWS SAM command line into .venv/sam (once, up to a few minutes)"
	@$(PYTHON) -m venv .venv/sam
	@.venv/sam/bin/python $(PIP_INSTALL) -r requirements-sam.lock
	@touch $@
