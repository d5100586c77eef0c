# Everything starts from a bare Python 3.11+ with venv and make.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
OUT ?= demo
DATA ?= data
WORK ?= runs
BIN := $(VENV)/bin
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

.PHONY: demo test dev check bench gpu networks clean

demo: $(VENV)/.track            ## set up, then render a clip and track it, without any download
	$(BIN)/flowtrack demo --out $(OUT)

test: $(VENV)/.dev              ## set up, then pass the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

dev: $(VENV)/.dev               ## set up for working on flowtrack, with the commit hooks
	$(BIN)/pre-commit install

check: $(VENV)/.dev             ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev             ## measure; results as JSON, compared run by run
	$(BIN)/python -m benchmarks all

gpu:                            ## what needs a GPU; skips what the machine lacks and says so
	PYTHONPATH=. $(GPU_PYTHON) -m pytest tests/gpu --confcutdir tests/gpu -rs --no-header -p no:cacheprovider
	PYTHONPATH=. $(GPU_PYTHON) -m benchmarks.gpu --minutes 6 --out benchmarks/results/gpu.json || test $$? -eq 3

networks: $(VENV)/.dev          ## train the default networks anew from DATA and replace them
	$(BIN)/python -m examples.default_networks.build $(DATA) --work $(WORK) --out flowtrack/default

clean:                          ## remove what the other targets made
	rm -rf $(VENV) $(OUT) build *.egg-info

$(VENV)/.track: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq -e '.[cpu]'
	touch $@

# torch goes first and alone, so that its version is the one that was tested.
$(VENV)/.dev: $(VENV)/.track
	$(BIN)/python -m pip install -qq $(TORCH)
	$(BIN)/python -m pip install -qq -e '.[cpu,export,dev]'
	$(BIN)/python -m pip install -qq --no-deps --upgrade --target $(VENV)/tensorrt-10 tensorrt-cu12-bindings==10.16.1.11
	$(BIN)/python -m pip install -qq --no-deps --upgrade --target $(VENV)/tensorrt-11 tensorrt-cu12-bindings==11.4.0.106
	touch $@
