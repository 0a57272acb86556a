# make demo   build the emulated devices, run the suite on the pump, show table and reports
# make test   the harness's own tests; make unit: those of its parts, without the qualification
# make nightly   every testcase, the long ones too, then every weakness; what changed since the last night
# All set up what is missing first; `make setup` does only that.

PYTHON   ?= python3
VENV     := .venv
BIN      := $(VENV)/bin
FIXTURES := $(wildcard firmware-fixtures/*/build.py)
RIG      ?= rigs/pump-qemu.yaml
NIGHTS   ?= reports/nightly
SUDO     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: setup packages firmware labgrid demo nightly unit test socketcan qualify lint docs schema bench clean

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz,dev,docs]'
	@touch $@

.node/.done: harness/report/node/package.json harness/report/node/package-lock.json
	@mkdir -p .node
	cp harness/report/node/package.json harness/report/node/package-lock.json harness/report/node/.npmrc .node/
	npm ci --prefix .node --silent --no-audit --no-fund
	@touch $@

firmware: packages $(VENV)/.done
	@for build in $(FIXTURES); do echo $(BIN)/python $$build; $(BIN)/python $$build || exit; done

# labgrid brings a fork of pyserial: an environment of its own.
labgrid: .labgrid/.done

.labgrid/.done: constraints-labgrid.txt
	$(PYTHON) -m venv .labgrid
	.labgrid/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-labgrid.txt labgrid
	@touch $@

demo: setup firmware
	$(BIN)/proofrig run rigs/pump-qemu.yaml -m "not long" -n 2

# The empty qualification.xml says "not tried" if the qualification is killed before it writes its own.
nightly: setup firmware
	@run=$(NIGHTS)/$$(date -u +%Y%m%dT%H%M%SZ)-$(basename $(notdir $(RIG))); \
	compare="--history $(NIGHTS)/history/$(basename $(notdir $(RIG))).jsonl --against last"; \
	$(BIN)/proofrig run $(RIG) --run-dir $$run $$compare $(OPTIONS); code=$$?; \
	[ -f $$run/journal.jsonl ] || exit $$code; \
	: >$$run/qualification.xml; \
	$(BIN)/python -m pytest tests/qualification/test_weaknesses.py --every-testcase \
	    --junitxml $$run/qualification.xml $(QUALIFICATION); weak=$$?; \
	$(BIN)/proofrig report $$run $$compare; \
	[ $$code -ne 0 ] || code=$$weak; exit $$code

lint: $(VENV)/.done
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup firmware labgrid lint
	$(BIN)/python -m pytest tests --ignore=tests/qualification -n 4

test: unit
	$(BIN)/python -m pytest tests/qualification/test_liars.py -n 2
	$(BIN)/python -m pytest tests/qualification --ignore=tests/qualification/test_liars.py

# The tests of CAN links on a real kernel's SocketCAN, in a guest; part of `make test`.
socketcan: setup
	$(BIN)/python -m pytest tests/socketcan

qualify: setup firmware
	$(BIN)/python -m pytest tests/qualification --every-testcase $(QUALIFICATION)

# The theme's advertisement of its successor is left out; THIRD-PARTY.md says how long the theme is maintained.
docs: $(VENV)/.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

schema: $(VENV)/.done
	$(BIN)/proofrig rig schema --write rigs/schema
	$(BIN)/python -m harness.rig.reference docs/device-file.md

bench: setup firmware
	$(BIN)/python -m benchmarks $(NAME)

clean:
	rm -rf .build $(VENV) .node .labgrid
