# make study   environment, data, the three quick studies, a report to open
# make test      lint, types and every test that is quick: what a change is likely to break, in minutes
# make test-all  every test that this leaves out: launchers, all faults, and Slurm and a browser where they are installed
# make chaos   every fault there is, injected; what became of them as one JSON document
# make results the evidence in results/ and the findings on its page, made again: the studies at full size, the baseline,
#              the parity and the faults, many hours on two cores; interrupted, it resumes
# make env     the environment alone, in .venv
# make gpu     what a GPU is needed for, in stages: compiled steps and CUDA graphs against plain ones, what they cost
#              (against the checkout of nanoGPT that NANOGPT names), the bisection of a NaN, strict mode, the studies for
#              a GPU, its tests; into $OUT, for $SECONDS; again, and it goes on with the stages that are not done

PYTHON ?= python3
TORCH ?= torch==2.13.0
OUT ?= out/quick
WORKERS ?= auto
FAULTS ?= out/faults/faults.json
SECONDS ?= 800
# "slurm shellcheck chromium": a machine that lacks one of them fails its tests, instead of leaving them out
NEEDED ?=

BIN := .venv/bin

.PHONY: env study test quick test-all chaos lint results gpu clean

env: .venv/.ready

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "making .venv: $(TORCH), then this project and its tools"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

study: env
	$(BIN)/gpt study run configs/studies/quick/*.yaml --out $(OUT)

results: env
	$(BIN)/gpt study run configs/studies/normalization.yaml configs/studies/positions.yaml \
		configs/studies/clipping.yaml configs/studies/seed_variance.yaml configs/studies/warmup.yaml --out out/full
	$(BIN)/gpt study run configs/studies/baseline.yaml --out out/baseline
	$(BIN)/gpt study publish out/full
	$(BIN)/gpt study publish out/baseline
	$(BIN)/gpt check-gradients --out results/gradient_parity
	$(MAKE) chaos FAULTS=results/faults/faults.json >/dev/null
	$(BIN)/python tests/chaos.py results/faults/faults.json docs/fault-tolerance.md
	$(BIN)/gpt verify results

PYTEST = GPT_TEST_NEEDED="$(NEEDED)" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# both at once, for mypy has one thread
test: env
	@$(MAKE) --no-print-directory --jobs 2 lint quick

quick: env
	$(PYTEST)

test-all: env
	$(PYTEST) -m slow

chaos: env
	@$(PYTEST) -m '(fault or measure) and not sample' --chaos=$(FAULTS) >&2; code=$$?; cat $(FAULTS); exit $$code

gpu: env
	$(BIN)/python tests/gpu/stages.py $(OUT) --seconds $(SECONDS) $(if $(NANOGPT),--nanogpt $(NANOGPT))

lint: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache
