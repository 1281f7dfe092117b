# Two commands on a fresh machine: make demo, make test. Both set everything up by themselves.
PYTHON ?= python3
EXTRA ?= onedl
WORKERS ?= 2
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test check format clean

setup: $(VENV)/ready-$(EXTRA)

$(VENV)/ready-$(EXTRA): pyproject.toml setup.py constraints-$(EXTRA).txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints-$(EXTRA).txt $(BIN)/python -m pip install --quiet \
	    --editable '.[$(EXTRA),dev]'
	# opencv-python comes along and wants libGL; the headless build of the same files goes over it.
	PIP_CONSTRAINT=constraints-$(EXTRA).txt $(BIN)/python -m pip install --quiet \
	    --no-deps --force-reinstall opencv-python-headless
	touch $@

demo: setup
	$(BIN)/python tools/demo.py

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) work_dirs
