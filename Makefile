# Commands for developers. Each sets up `.venv/` when it has to, which takes about a minute.
#   make demo [ARGS="--home DIR"]   replay the flights of New York in 2013
#   make test [ARGS="-k ledger"]    linters, types, layers and tests
#   make bench [ONLY=name,...]      benchmarks into bench.json; `make bench-docs` then writes docs/benchmarks.md
#   make cluster [ARGS="--grace 0"] a Slurm cluster on this machine, for root on Debian (slurm/README.md)
#   make cluster-status             its daemons and nodes; make cluster-down ends it and leaves nothing behind
#   make cluster-kill DAEMON=train1 end one daemon at once, for drills; also -stop, -start and -restart
#   make live [ARGS="--days-a-minute 60"]  the live system on this machine: Slurm, Prefect, MLflow, flights as if live;
#                                   for root on Debian; make live-down ends it and leaves nothing behind
#   make format                     mend what the linters can mend
#   make clean                      remove `.venv/` and the caches of tools
# PYTHON=... names another interpreter than the first Python 3.12 or 3.11 on PATH, CLUSTER=... another cluster than mini.

MAKEFLAGS += --no-print-directory
VENV := .venv

CLUSTER := mini
PROFILE := profiles/clusters/minicluster.toml
MINICLUSTER = PYTHONPATH=slurm $(VENV)/bin/python -m minicluster

.PHONY: demo test lint bench bench-docs cluster cluster-down cluster-status \
	cluster-start cluster-stop cluster-kill cluster-restart live live-down format clean

demo: $(VENV)/ready
	@$(VENV)/bin/hpcretrain demo $(ARGS)

# CI reads pytest's closing line, so pytest comes last. Three at once on two cores: many tests wait for servers and queues.
test: lint
	@$(VENV)/bin/pytest -n 3 --dist worksteal $(ARGS)

lint: $(VENV)/ready-for-tests
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

bench: $(VENV)/ready
	@PYTHONPATH=tests:slurm $(VENV)/bin/python -m bench.run --only "$(ONLY)"

bench-docs: $(VENV)/ready
	@PYTHONPATH=tests $(VENV)/bin/python -m bench.run --docs

cluster: $(VENV)/ready
	@bash tools/slurm.sh
	@$(MINICLUSTER) up --name $(CLUSTER) $(if $(filter mini,$(CLUSTER)),--write-profile $(PROFILE)) $(ARGS)

cluster-down cluster-status: cluster-%: $(VENV)/ready
	@$(MINICLUSTER) $* --name $(CLUSTER)

cluster-start cluster-stop cluster-kill cluster-restart: cluster-%: $(VENV)/ready
	@$(MINICLUSTER) $* --name $(CLUSTER) $(DAEMON)

live: $(VENV)/ready-for-live
	@bash tools/slurm.sh
	@PYTHONPATH=slurm $(VENV)/bin/python tools/live.py up $(ARGS)

live-down: $(VENV)/ready
	@PYTHONPATH=slurm $(VENV)/bin/python tools/live.py down

format: $(VENV)/ready-for-tests
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

$(VENV)/ready: pyproject.toml constraints.txt tools/setup.sh
	@bash tools/setup.sh $@

$(VENV)/ready-for-tests: $(VENV)/ready
	@bash tools/setup.sh $@ test

$(VENV)/ready-for-live: $(VENV)/ready
	@bash tools/setup.sh $@ live

clean:
	rm -rf $(VENV) .venv-evidently .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
