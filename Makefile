# Everything a developer or a shop types. `make help` lists it; each target prepares what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What tests take from npm: axe-core, which the browser tests put into each page, and what reads the OpenAPI document.
# npm writes these files last.
FROM_NPM := tests/browser/node_modules/.package-lock.json tests/openapi/node_modules/.package-lock.json

PORT ?= 8000
# Extra words for a command: make test ARGS="-k resume -x"
ARGS ?=

# The embedded default: SQLite, an in-memory layer and tasks run in the process. Setting DATABASE_URL and REDIS_URL
# moves the very same commands to PostgreSQL and Redis.
run worker beat: export DEBUG ?= 1
run: export PORT := $(PORT)

# What a production start has to bring, with values that are nobody's, for the checks of `check --deploy`.
DEPLOYED := DEBUG=0 SECRET_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
	ALLOWED_HOSTS=shop.example ALLOWED_ORIGINS=https://shop.example \
	DATABASE_URL=postgres://orderwire@db.example/orderwire REDIS_URL=redis://redis.example/0

.DEFAULT_GOAL := help
.PHONY: help install run worker beat test test-client screenshots audit bench check format lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Prepare .venv from the lock, and nothing else

# Only a change of the lock makes it older than its stamp; every other run of make leaves the environment alone.
$(STAMP): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Orderwire needs Python 3.11 or newer; '$(PYTHON)' is older or absent. Name another: make install PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is absent. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

run: install ## Serve on http://localhost:8000 with demo data (PORT=8001 for another port)
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py demo
	@exec $(BIN)/gunicorn --config deploy/gunicorn.conf.py --bind 127.0.0.1:$(PORT) config.asgi:application

worker: install ## Run a Celery worker (needs REDIS_URL or CELERY_BROKER_URL)
	@exec $(BIN)/celery -A config worker

beat: install ## Run the Celery scheduler; one for each deployment
	@mkdir -p var && exec $(BIN)/celery -A config beat --schedule var/celerybeat-schedule

# Two processes at once, each with a database, a Redis and servers of its own.
IN_PROCESS := tests/api tests/notifications tests/orders $(wildcard tests/test_*.py)
SERVED := tests/acceptance tests/attacks tests/browser
# With ARGS="-k word" a part may have no such test, which pytest calls 5.
NONE_IS_FINE = || { status=$$?; [ -n "$(ARGS)" ] && [ $$status -eq 5 ]; }

test: install $(FROM_NPM) ## Run every test: PostgreSQL and Redis, then the embedded default, then the JavaScript client
	$(BIN)/python -m pytest -n 2 $(IN_PROCESS) $(ARGS) $(NONE_IS_FINE)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(SERVED) $(ARGS) $(NONE_IS_FINE)
	$(BIN)/python -m pytest -n 2 tests/faults $(ARGS) $(NONE_IS_FINE)
	$(BIN)/python -m pytest --embedded -n 2 tests/orders tests/notifications $(ARGS) $(NONE_IS_FINE)
	$(BIN)/python -m pytest --embedded -n 2 --dist loadfile tests/acceptance $(ARGS) $(NONE_IS_FINE)
	@$(MAKE) --no-print-directory test-client

$(FROM_NPM): tests/%/node_modules/.package-lock.json: tests/%/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/$* --ignore-scripts --no-audit --no-fund --loglevel error; \
	elif [ -n "$$CI" ]; then echo "npm is absent, and CI runs every test" >&2; exit 1; \
	else echo "Without npm the tests that need what stands in tests/$* will be skipped"; fi

screenshots: install ## Make the pictures of the README anew, in docs/images (needs Chromium)
	$(BIN)/python -m tests.browser.screenshots

test-client: ## Run the JavaScript client's tests (needs Node.js 20 or newer; skipped without it, except in CI)
	@if command -v node >/dev/null; then node --test tests/client/*.test.mjs; \
	elif [ -n "$$CI" ]; then echo "Node.js is absent, and CI runs every test" >&2; exit 1; \
	else echo "Skipped the JavaScript client's tests: Node.js is not installed"; fi

check: install ## Formatting, lint, types, import rules, missing migrations, deploy checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	DEBUG=1 $(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --severity-level medium --recursive api config notifications orders examples deploy manage.py
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run
	@echo "manage.py check --deploy --fail-level WARNING"
	@$(DEPLOYED) $(BIN)/python manage.py check --deploy --fail-level WARNING

# Not part of `check`: it asks a database on the network, which is not reached from everywhere.
audit: install ## Look for known vulnerabilities in what requirements.lock names (needs the network, and pip-audit)
	@command -v pip-audit >/dev/null || { echo "pip-audit is not installed: pipx install pip-audit" >&2; exit 1; }
	pip-audit --require-hashes --disable-pip --requirement requirements.lock

bench: install ## Print what a connection, a delivery and a request cost the server, the tutorial version beside (some minutes)
	$(BIN)/python -m benchmarks.delivery $(ARGS)

format: install ## Rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The locks hold versions and hashes and no download address, so that they install from whichever index a machine uses.
COMPILE = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links pyproject.toml

lock: install ## Renew requirements.lock and requirements-dev.lock (ARGS=--upgrade for newer versions)
	$(COMPILE) $(ARGS) --output-file requirements.lock
	$(COMPILE) $(ARGS) --group dev --constraint requirements.lock --output-file requirements-dev.lock
