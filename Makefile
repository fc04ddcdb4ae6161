# Everything sets itself up: an environment in .venv, from constraints.txt.
# ARGS are handed on: make serve ARGS="--port=6000", make test ARGS="tests/test_tokens.py -k emoji".
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: serve test check docs benchmark lock clean

serve: $(VENV)/.demo
	$(BIN)/python launch.py $(ARGS)

test: $(VENV)/.dev
	sh tests/install_chromium.sh
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The documentation as a site, in build/site; whatever is wrong with it is an error.
docs: $(VENV)/.dev
	$(BIN)/python tests/helpers/build_site.py

$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	touch $@

benchmark: $(VENV)/.dev
	$(BIN)/python benchmarks/salience_request.py --json=benchmarks/results.json $(ARGS)

# Writes constraints.txt anew: the newest versions that pyproject.toml allows.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	build/lock/bin/python -m pip install --quiet -e '.[dev,notebook]'
	{ echo '# Versions that the test suite passed with. Written by "make lock".'; \
	  build/lock/bin/python -m pip list --format=freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info
