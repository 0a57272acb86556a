# make demo   build the emulated pump, run the suite on it, show table and reports
# make test   the harness's own tests
# Both set up what is missing first; `make setup` does only that.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
FIXTURE := firmware-fixtures/infusion-pump
RIG     ?= rigs/pump-qemu.yaml
TOGETHER ?= --together
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: setup packages firmware demo test qualify lint schema bench clean

setup: packages $(VENV)/.done .node/.done

packages:
	@missing=$$(grep -v '^#' debian-packages.txt | while read -r name; do \
	    dpkg-query -W -f '$${Status}' "$$name" 2>/dev/null | grep -q 'ok installed' || echo "$$name"; done); \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	if [ -n "$$missing" ]; then echo "installing Debian packages:" $$missing; \
	    $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	        apt-get install -q -y --no-install-recommends $$missing; fi

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz,dev]'
	@touch $@

.node/.done: harness/report/node/package.json harness/report/node/package-lock.json
	@mkdir -p .node
	cp harness/report/node/package.json harness/report/node/package-lock.json harness/report/node/.npmrc .node/
	npm ci --prefix .node --silent --no-audit --no-fund
	@touch $@

firmware: packages $(VENV)/.done
	$(BIN)/python $(FIXTURE)/build.py

demo: setup firmware
	$(BIN)/proofrig run $(RIG)

lint: $(VENV)/.done
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup firmware lint
	$(BIN)/python -m pytest tests --ignore=tests/qualification -n 2
	$(BIN)/python -m pytest tests/qualification

qualify: setup firmware
	$(BIN)/python -m pytest tests/qualification --every-testcase $(TOGETHER)

schema: $(VENV)/.done
	$(BIN)/proofrig rig schema --write rigs/schema

bench: setup firmware
	$(BIN)/python -m benchmarks $(NAME)

clean:
	rm -rf .build $(VENV) .node
