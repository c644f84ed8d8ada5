# make demo | test | test-processors | check | bench | install. Each makes .venv from the pinned requirements, or
# completes it: demo what relight and evaluation need, the others everything. PYTHON=python3.12 makes it again with
# another Python.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
ENVIRONMENT := $(PYTHON) tools/environment.py --venv $(VENV) $(if $(filter file,$(origin PYTHON)),,--this-python)

DEMO ?= demo
DEMO_IDENTITIES ?= 6
DEMO_VIEWS ?= 1,4,7,10,19,28,31,34,37,42,73,91,109,114
DEMO_SIZE ?= 512
# The last person's pictures are as AcuSim ships them: JPEG without depth maps.
DEMO_JPEG ?= $(DEMO_IDENTITIES)

.PHONY: demo test test-processors check format bench install core dev clean

core:
	@$(ENVIRONMENT) core

install:
	@$(ENVIRONMENT) all

dev:
	@$(ENVIRONMENT) dev

demo: core
	$(PY) -m synthetic --out $(DEMO)/dataset --identities $(DEMO_IDENTITIES) --views $(DEMO_VIEWS) --size $(DEMO_SIZE) \
		--jpeg $(DEMO_JPEG)
	$(PY) controller/controller.py --batch --engine relight --dataset $(DEMO)/dataset --output $(DEMO)/augmented
	cp $(DEMO)/augmented/contact_sheet.jpg $(DEMO)/contact_sheet.jpg
	$(PY) -m evaluation report --original $(DEMO)/dataset --augmented $(DEMO)/augmented --out $(DEMO)/report \
		--null 12 --baselines 6
	@images=$$(find $(DEMO)/augmented -path '*/image/img_*/*' -type f | wc -l); \
	labels=$$(find $(DEMO)/augmented -path '*/label/label/*.json' -type f | wc -l); \
	aside=$$($(PY) -m controller --status --json --output $(DEMO)/augmented | \
		$(PY) -c 'import json, sys; print(json.load(sys.stdin)["counts"]["set aside"])'); \
	echo "demo: $$images images, $$labels labels, $$aside set aside; is every label still true? $(DEMO)/report/report.html"

# A process for each core, but four at most, as one may hold whole models (up to 4 GB). Whole files, because the tests
# of a file share what is slow to make.
test: dev
	$(PY) -m pytest -q -n logical --maxprocesses 4 --dist loadfile

# The numeric tests under several instruction sets of this processor, or under PROFILES="sse3 avx2".
test-processors: dev
	$(PY) -m tests.processors $(PROFILES) -- -n logical --maxprocesses 4 --dist loadfile

check: dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright
	$(PY) -m pytest -q tests/test_imports.py

format: dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: dev
	for name in relight_speed batch_speed plan_scale synthetic_report evaluation_speed gate_speed loader_speed training_step heatmap_speed; do echo "== $$name"; $(PY) -m benchmarks.$$name || exit 1; done

clean:
	rm -rf $(VENV) build
