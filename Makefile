# The contract's commands: run, test, check. Everything they need goes into .venv.

SHELL := /bin/bash
PYTHON := .venv/bin/python

# Tests and checks see this project's defaults, whatever this shell has set for a running system.
PLAIN := env -u SECRET_KEY -u REDIS_URL -u REDIS_SENTINELS -u REDIS_SENTINEL_SERVICE -u REDIS_CLUSTER \
	-u OPENAI_API_BASE_URL -u OPENAI_API_KEY -u OPENAI_API_TYPE -u TASK_MODEL -u TASK_MODEL_EXTERNAL \
	-u ALLOWED_HOSTS -u HTTPS -u BEHIND_PROXY -u PORT DEBUG=1

# 3.11 and 3.12 are what the tests run on; a later one is taken only if there is nothing else.
FIND_PYTHON = usable() { command -v $$1 >/dev/null && $$1 -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $$2))" 2>/dev/null; }; \
	for found in "python3 12" python3.12\ 12 python3.11\ 12 "python3 99" none; do \
		set -- $$found; if [ $$1 = none ] || usable $$1 $$2; then break; fi; \
	done

# $(call install,NAME,REQUIREMENTS): installs unless these very requirements were installed already.
define install
	@sum=$$(cat requirements.txt $(2) | cksum); \
	if [ "$$(cat .venv/$(1).installed 2>/dev/null)" != "$$sum" ]; then \
		echo "Installing $(2) into .venv (a minute or two the first time) …"; \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $(2) \
			|| { echo "The packages could not be installed: see the lines above; make then tries again."; exit 1; }; \
		echo "$$sum" >.venv/$(1).installed; \
	fi
endef

.PHONY: run test check bench install venv runtime

run: export DEBUG := $(or $(DEBUG),1)
run: runtime
	@exec $(PYTHON) manage.py up

test: install
	@$(PLAIN) $(PYTHON) -m pytest $(ARGS)

check: install
	@$(PLAIN) $(PYTHON) -m ruff format --check .
	@$(PLAIN) $(PYTHON) -m ruff check .
	@$(PLAIN) $(PYTHON) -m mypy
	@$(PLAIN) $(PYTHON) manage.py check --fail-level WARNING
	@$(PLAIN) $(PYTHON) manage.py makemigrations --check --dry-run

bench: install
	@$(PLAIN) $(PYTHON) -m tests.benchmarks.engine $(ARGS)

install: venv
	$(call install,develop,requirements-dev.txt)
	@cat requirements.txt requirements.txt | cksum >.venv/run.installed  # those are among them

runtime: venv
	$(call install,run,requirements.txt)

venv:
	@if ! $(PYTHON) -c "" 2>/dev/null; then \
		$(FIND_PYTHON); \
		if [ $$1 = none ]; then \
			echo "Signalbox needs Python 3.11 or later, and none was found: install python3 (3.11 or 3.12 is best)."; exit 1; \
		fi; \
		echo "Making the virtual environment .venv with $$($$1 --version) …"; \
		$$1 -m venv --clear .venv \
			|| { echo "$$1 cannot make virtual environments: install its venv module (Debian: apt install python3-venv)."; exit 1; }; \
	fi
