# make app       the app on http://localhost:8501
# make test      the checks and the default tier of the tests
# make test-all  these, and every other test
# The other targets are what these two are made of.

PYTHON ?= python3
VENV := .venv
SERVING_VENV := .venv-serving
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --constraint requirements.lock

PYTEST := $(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile

.PHONY: app test test-all check train-env format lock benchmark clean

app: $(VENV)/.app
	COVID_OWN_COMPUTER=1 $(VENV)/bin/python -m streamlit run streamlit_app.py --server.address localhost --server.port 8501 \
		--server.allowedHosts localhost --server.allowedHosts 127.0.0.1

test: check
	$(PYTEST)

# Property-based tests run again, with more examples.
test-all: test $(SERVING_VENV)/.done
	COVID_SERVING_PYTHON="$(CURDIR)/$(SERVING_VENV)/bin/python" \
		$(PYTEST) -m "slow or hypothesis or (browser and not smoke)" --hypothesis-profile thorough

check: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

train-env: $(VENV)/.train

format: $(VENV)/.dev
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# All versions that the extras of pyproject.toml bring along, for every platform; those of requirements*.txt stay.
lock: $(VENV)/.dev
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip compile --quiet --upgrade pyproject.toml --all-extras --universal --python-version 3.11 --no-annotate \
		--constraint requirements-dev.txt --custom-compile-command "make lock" --output-file requirements.lock

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.app: requirements.lock requirements.txt | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP_INSTALL) -r requirements.txt
	touch $@

$(VENV)/.train: requirements.lock requirements.txt requirements-train.txt | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP_INSTALL) -r requirements-train.txt
	touch $@ $(VENV)/.app

$(VENV)/.dev: requirements.lock requirements.txt requirements-train.txt requirements-dev.txt | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP_INSTALL) -r requirements-dev.txt
	touch $@ $(VENV)/.app $(VENV)/.train

# Has only what a host installs: the tests prove in it that the app runs without TensorFlow.
$(SERVING_VENV)/.done: requirements.lock requirements.txt
	$(PYTHON) -m venv $(SERVING_VENV) || { rm -rf $(SERVING_VENV); exit 1; }
	$(SERVING_VENV)/bin/python $(PIP_INSTALL) -r requirements.txt
	touch $@

benchmark: $(VENV)/.dev
	$(VENV)/bin/python benchmarks/serving.py
	$(VENV)/bin/python benchmarks/readme.py

clean:
	rm -rf $(VENV) $(SERVING_VENV) .mypy_cache .ruff_cache .import_linter_cache .pytest_cache
