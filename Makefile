PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := --dataset=digits --iterations=1000 --levels=16 --eval_interval=20 --test_interval=20

.PHONY: demo test lint docs tutorials clean

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.lenet $(DEMO)
	$(BIN)/python -m experiments.report runs/lenet

test: $(VENV)/.tested
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.tested
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

tutorials: $(VENV)/.tested
	$(BIN)/python docs/execute.py

$(VENV)/.installed: setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[report,data]"
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all,docs,test]"
	touch $@

clean:
	rm -rf $(VENV) build site *.egg-info
