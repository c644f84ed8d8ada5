# make demo | models | test | test-fast | coverage | test-processors | check | format | docs | bench | install
#
# Each creates .venv from the pinned requirements, or completes it: demo what relight and evaluation need, docs what
# builds the site, the others everything. PYTHON=python3.12 recreates it with another Python.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
ENVIRONMENT := $(PYTHON) tools/environment.py --venv $(VENV) $(if $(filter file,$(origin PYTHON)),,--this-python)

DEMO ?= demo
DEMO_IDENTITIES ?= 6
DEMO_VIEWS ?= 1,4,7,10,19,28,31,34,37,42,73,91,109,114
DEMO_SIZE ?= 512
# The last person's images are as AcuSim ships them: JPEG without depth maps, which are fitted to the labels.
DEMO_JPEG ?= $(DEMO_IDENTITIES)

.PHONY: demo models test test-fast coverage test-processors check format docs bench install core dev clean

core:
	@$(ENVIRONMENT) core

install:
	@$(ENVIRONMENT) all

dev:
	@$(ENVIRONMENT) dev

demo: core
	$(PY) -m synthetic --out $(DEMO)/dataset --identities $(DEMO_IDENTITIES) --views $(DEMO_VIEWS) --size $(DEMO_SIZE) \
		--jpeg $(DEMO_JPEG)
	$(PY) -m synthetic fit --dataset $(DEMO)/dataset
	$(PY) controller/controller.py --batch --engine relight --dataset $(DEMO)/dataset --output $(DEMO)/augmented
	cp $(DEMO)/augmented/contact_sheet.jpg $(DEMO)/contact_sheet.jpg
	$(PY) -m evaluation report --original $(DEMO)/dataset --augmented $(DEMO)/augmented --out $(DEMO)/report \
		--null 12 --baselines 6
	@images=$$(find $(DEMO)/augmented -path '*/image/img_*/*' -type f | wc -l); \
	labels=$$(find $(DEMO)/augmented -path '*/label/label/*.json' -type f | wc -l); \
	skipped=$$($(PY) -m controller --status --json --output $(DEMO)/augmented | \
		$(PY) -c 'import json, sys; print(json.load(sys.stdin)["counts"]["skipped"])'); \
	echo "demo: $$images images, $$labels labels, $$skipped skipped; is every label still true? $(DEMO)/report/report.html"

# The models that come with the package, from synthetic data alone: less than three hours on two cores.
MODELS ?= build/models
models: install
	$(PY) -m tools.make_models --out $(MODELS)

# tests/conftest.py sets how many processes. Whole files, because the tests of a file share what is slow to create.
WORKERS ?= -n auto --dist loadfile --no-loadscope-reorder

# Tests start hundreds of commands; without compiled files each would compile the program again.
unexport PYTHONDONTWRITEBYTECODE

test: dev
	$(PY) -m pytest -q $(WORKERS)

# The quick tests. What they leave out imports diffusion (15 s in each process), trains, renders, or runs whole commands.
SLOW_TESTS := live engines/embedded engines/comfyui engines/relight engines/test_scenes.py synthetic \
	training/cli training/web training/tasks training/test_loop.py training/test_checkpoint.py \
	training/data/test_cache.py training/data/test_loader.py training/data/test_records.py training/eval/test_head.py \
	training/models/test_backbones.py training/models/test_hand_networks.py \
	evaluation/test_cli.py evaluation/test_certify.py evaluation/test_drift.py acusim/test_parallel.py acusim/test_command_line.py \
	controller/test_progress.py training/models/test_pretrained.py test_umask.py test_docs.py test_imports.py
test-fast: dev
	$(PY) -m pytest -q $(WORKERS) -m "not (slow or comfyui or gpu or processors)" --ignore-glob='tests/controller/test_[!p]*' \
		$(addprefix --ignore=tests/,$(SLOW_TESTS))

# All tests, and how much of each room they run; FAST=1 for the quick ones alone.
coverage:
	@mkdir -p build/coverage
	$(MAKE) $(if $(FAST),test-fast,test) WORKERS="$(WORKERS) --cov --cov-report=json:build/coverage/report.json"
	$(PY) -m tools.coverage_by_room build/coverage/report.json

# The numeric tests under several instruction sets of this processor, or under PROFILES="sse3 avx2"; and whether outputs
# are as equal under two of them as is promised.
test-processors: dev
	$(PY) -m pytest -q -m processors
	$(PY) -m tests.processors $(PROFILES) -- $(WORKERS)

# The site in site/, from docs/, the settings' models and the docstrings; a warning is an error.
docs:
	@$(ENVIRONMENT) docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "docs: site/index.html"

check: dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright
	$(PY) -m pytest -q tests/test_imports.py

format: dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: dev
	for name in relight_speed batch_speed plan_scale evaluation_speed gate_speed loader_speed training_step heatmap_speed; do echo "== $$name"; $(PY) -m benchmarks.$$name || exit 1; done
	$(PY) -m experiments.synthetic_heads speed

clean:
	rm -rf $(VENV) build site
