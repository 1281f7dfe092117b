# Two commands on a fresh machine: make demo, make test. Both set everything up by themselves.
PYTHON ?= python3
EXTRA ?= onedl
WORKERS ?= 2
VENV ?= .venv
BIN := $(VENV)/bin
# Empty: the newest versions.
CONSTRAINTS ?= constraints-$(EXTRA).txt
BASE_VENV ?= .venv-base
BASE_TESTS := tests/kd_core/losses tests/kd_core/checkpoint tests/kd_core/test_attach.py \
    tests/kd_core/test_distiller.py tests/kd_retrieval/recall/test_at_k.py \
    tests/kd_retrieval/recall/test_labels.py tests/kd_retrieval/recall/test_count.py \
    tests/kdkit/test_distillation.py tests/kdkit/test_public_names.py tests/kdkit/test_base_install.py
# These compare with FAISS, which the base install lacks.
BASE_SKIP := not faiss and not backends and not oracle

.PHONY: setup demo test databases base check format clean

setup: $(VENV)/ready-$(EXTRA)

$(VENV)/ready-$(EXTRA): pyproject.toml setup.py $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install --quiet \
	    --editable '.[$(EXTRA),dev]'
	# opencv-python comes along and wants libGL; the headless build of the same files goes over it.
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install --quiet \
	    --no-deps --force-reinstall opencv-python-headless
	touch $@

demo: setup
	$(BIN)/python tools/demo.py

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# A MariaDB server for the tests of kd_face, where apt may install it; theirs on it are skipped without one.
databases:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && ! command -v mariadbd > /dev/null; \
	then timeout 120 sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install \
	    -qq --no-install-recommends mariadb-server-core mariadb-client-core" || echo "MariaDB was not installed"; fi

# The base install alone, in an environment of its own: losses, distiller, recall@K.
base:
	$(PYTHON) -m venv $(BASE_VENV)
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BASE_VENV)/bin/python -m pip install --quiet . pytest hypothesis
	$(BASE_VENV)/bin/python -m pytest -k "$(BASE_SKIP)" $(BASE_TESTS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(BASE_VENV) work_dirs
