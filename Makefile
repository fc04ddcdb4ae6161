# Everything sets itself up: an environment in .venv, from constraints.txt.
# ARGS are handed on: make serve ARGS="--port=6000", make test ARGS="tests/test_tokens.py -k emoji".
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: serve test check types docs benchmark lock clean

serve: $(VENV)/.demo
	$(BIN)/python launch.py $(ARGS)

test: $(VENV)/.dev
	sh tests/install_chromium.sh
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev docs types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The JSDoc types of lit_plugins/client: nothing is compiled, and nothing of npm's is served.
types: node_modules/.installed
	npx --no-install tsc -p .

node_modules/.installed: package.json
	@command -v npm >/dev/null || { echo 'Needs npm: install Node.js, 18 or later.' >&2; exit 1; }
	npm install --no-package-lock --no-audit --no-fund --silent
	touch $@

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
	rm -rf $(VENV) build dist node_modules *.egg-info
