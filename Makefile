# Everything a newcomer needs: `make demo` and `make test`.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
IMAGE ?= airflow-mlops-provider/step:$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' airflow_mlops_provider/__init__.py)

ifeq ($(UV),)
CREATE = $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --upgrade pip
INSTALL = $(BIN)/pip install --quiet
else
CREATE = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
endif

COMPILE = uv pip compile --quiet --python-version 3.11 --no-emit-index-url --no-annotate --no-header
HASHED = $(COMPILE) --constraint constraints.txt --generate-hashes

.PHONY: demo demo-up test test-unit test-lowest test-newest release-check nightly services env lint docs screenshots site bench clean constraints image schema

demo: $(VENV)/examples  ## from nothing to a champion, on this machine
	$(BIN)/python tools/demo.py run

demo-up: $(VENV)/examples  ## the web pages of what the demo left, until Ctrl-C
	$(BIN)/python tools/demo.py up

test: $(VENV)/dev  ## every test; the real scheduler's too
	@# Where Python is told to write no bytecode, each of a thousand processes would compile the package anew.
	$(BIN)/python -m compileall -q airflow_mlops_provider plugins tools
	$(BIN)/python -m pytest -n auto --no-loadscope-reorder

test-unit: $(VENV)/dev  ## the tests that start no service, with the versions of constraints.txt
	$(BIN)/python -m pytest tests/unit -n auto

test-lowest:  ## the same with the oldest libraries that pyproject.toml allows; needs uv
	tools/test_versions.sh lowest-direct $(VENV)-lowest

test-newest:  ## the same with the newest; needs uv
	tools/test_versions.sh highest $(VENV)-newest

release-check:  ## build the wheel, and take a data file to a champion with nothing else; needs uv
	tools/release_check.sh

nightly: $(VENV)/dev  ## thousands of random inputs, fifty rounds of lost objects, decisions in worlds whose truth is known; most of a night
	$(BIN)/python -m pytest -m nightly -n auto --dist worksteal
	$(BIN)/python benchmarks/lost_objects.py --rounds 50 --out docs/lost-objects.json
	$(BIN)/python benchmarks/judgement.py --out docs/judgement.json

services:  ## what some tests need of Debian: Ceph, Docker, PostgreSQL, Redis, Chromium; as root
	tests/integration/services/install.sh

env: .env  ## the secrets of docker-compose.yaml, random; an .env that is there stays as it is

.env:
	$(PYTHON) tools/write_env.py $@

lint: $(VENV)/dev  ## style, types, layers, dependencies, spelling, prose
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/python tools/prose.py

docs: $(VENV)/dev  ## what is generated: the pipeline file's JSON schema, the tables in docs/
	$(BIN)/python tools/write_schema.py
	$(BIN)/python tools/write_docs.py

screenshots: $(VENV)/dev  ## the pictures in docs/images, anew, by the tests that drive the pages
	MLOPS_PICTURES=docs/images $(BIN)/python -m pytest -q tests/integration/test_ui.py tests/integration/test_approvals.py

site: $(VENV)/dev  ## the documentation as a site, under build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(VENV)/dev  ## the DAG beside one plain script; a few minutes
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/parsing.py

image:  ## the image of the steps, for runtime: {kind: docker}; IMAGE names it, PYTHON_DIGEST pins its base
	docker build --build-arg PYTHON_DIGEST=$(PYTHON_DIGEST) --target step --tag $(IMAGE) .

constraints:  ## compile constraints.txt from pyproject.toml, and of it, with hashes, what the images install
	$(COMPILE) --extra dev --extra compose pyproject.toml -o constraints.txt
	$(HASHED) --extra compose pyproject.toml -o constraints-airflow.txt
	printf 'mlflow[auth]\npsycopg2-binary\nboto3\n' | $(HASHED) - -o constraints-mlflow.txt
	$(PYTHON) tools/step_requirements.py | $(HASHED) - -o constraints-step.txt

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest .demo .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

$(VENV)/bin/python:
	$(CREATE)

$(VENV)/examples: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Airflow, MLflow and the rest into $(VENV): some minutes, the first time ..."
	$(INSTALL) --constraint constraints.txt --editable ".[examples]"
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Airflow, MLflow and the rest into $(VENV): some minutes, the first time ..."
	$(INSTALL) --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/examples
