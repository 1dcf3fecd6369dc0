"""What handlers see of their agent's environment: what they need, and nothing that is secret."""

from __future__ import annotations

from typing import Any

import pytest

from htcgrid_core.agent.variables import PASS_MORE
from htcgrid_core.agent.workers.environment import surroundings, worker_environment
from htcgrid_core.agent.workers.lambda_environment import REGION_VARIABLES, function_arn
from htcgrid_core.agent.workers.threads import AS_OPENMP, BY_THEMSELVES, OPENMP, VARIABLES, limited
from htcgrid_core.domain.function import Environment, FunctionSpec, Package
from htcgrid_core.ports.worker import NO_GRID, FunctionRef, OwnGrid
from tests.planes import spec

SECRETS = [
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_PROFILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "GITHUB_TOKEN", "DATABASE_URL",
    "HTCGRID_URL", "HTCGRID_KEY", "KUBECONFIG", "SSH_AUTH_SOCK", "API_KEY", "PGPASSWORD", "AIRFLOW__CORE__FERNET_KEY",
    "path", "HOMEPAGE_PASSWORD", "LANGSMITH_API_KEY", "USERPASS", "PYTHON_API_TOKEN", "PYTHONPASSWORD",
    "PYTHON_KEYRING_BACKEND", "POLARS_CLOUD_CLIENT_SECRET", "TF_VAR_password", "NPROC_PASSWORD",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_not_passed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "canary")
    assert "canary" not in worker_environment().values()


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "LC_ALL", "PYTHONPATH", "PYTHONHASHSEED", "OMP_NUM_THREADS", "TMPDIR", "TZ",
        "POLARS_MAX_THREADS",
        "RAYON_NUM_THREADS", "KMP_AFFINITY", "GOMP_CPU_AFFINITY", "TORCH_HOME", "XLA_FLAGS", "JAX_PLATFORMS",
        "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS", "NPROC", "TF_NUM_INTRAOP_THREADS",
    ],
)  # fmt: skip
def test_what_programs_need_is_passed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "value")
    assert worker_environment()[name] == "value"


def test_a_task_finds_its_own_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    function = FunctionRef("key", "s-1", spec(), grid=OwnGrid("local:///its-own"))
    monkeypatch.setenv("HTCGRID_URL", "local:///another")
    assert worker_environment(function)["HTCGRID_URL"] == "local:///its-own"
    monkeypatch.setenv(PASS_MORE, "HTCGRID_URL")  # who started the agent wants it so
    assert worker_environment(function)["HTCGRID_URL"] == "local:///another"


def test_more_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MARKET_URL", "DESK", "MARKET_URL_PASSWORD"):
        monkeypatch.setenv(name, name.lower())
    monkeypatch.setenv(PASS_MORE, "MARKET_URL, DESK,,")
    found = worker_environment()
    assert (found["MARKET_URL"], found["DESK"]) == ("market_url", "desk")
    assert not {"MARKET_URL_PASSWORD", PASS_MORE, ""} & found.keys()


def test_libraries_begin_a_slots_share_of_threads() -> None:
    assert limited({"PATH": "/bin"}, 3) == {"PATH": "/bin", **dict.fromkeys(VARIABLES, "3")}


@pytest.mark.parametrize("name", [name for name in VARIABLES if name != "SLURM_CPUS_ON_NODE"])
def test_what_is_said_of_threads_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "7")
    assert worker_environment(threads_each=1)[name] == "7"


def test_an_allocation_of_slurm_is_shared_among_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    assert worker_environment(threads_each=1)["SLURM_CPUS_ON_NODE"] == "1"


def test_who_says_it_to_openmp_says_it_to_what_asks_openmp() -> None:
    found = limited({OPENMP: "7"}, 1)
    assert not set(AS_OPENMP) & found.keys()  # these then begin as many as OpenMP
    assert {found[name] for name in BY_THEMSELVES} == {"1"}


def deployed(name: str, version: int = 1, grid: OwnGrid = NO_GRID, **options: Any) -> FunctionRef:
    """A deployed function, unpacked."""
    package = Package(function=name, version=version, handler="app.handler", runtime="python3.11", **options)
    place = Environment(python="python", cwd="/packages/task")
    return FunctionRef(
        "key", "s-1", spec(function=FunctionSpec(name=name, package=package, environment=place)), grid=grid
    )


def test_a_deployed_functions_worker_is_its_versions_alone() -> None:
    """Though they have the same package: what libraries keep goes by the name of the function."""
    assert surroundings(deployed("pricing")) == surroundings(deployed("pricing"))
    assert surroundings(deployed("pricing")) != surroundings(deployed("risk"))
    assert surroundings(deployed("pricing")) != surroundings(deployed("pricing", 2))


def test_what_a_function_says_stands_and_what_the_runtime_says_too() -> None:
    own = {"TZ": "Asia/Tokyo", "AWS_REGION": "eu-west-1", "AWS_LAMBDA_FUNCTION_NAME": "of an older release's registry"}
    found = worker_environment(deployed("pricing", variables=own, grid=OwnGrid(region="us-east-1")))
    assert (found["TZ"], found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == ("Asia/Tokyo", "eu-west-1", "eu-west-1")
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "pricing"


@pytest.mark.parametrize(("region", "arn"), [("us-east-1", "us-east-1"), ("", "local")])
def test_the_region_is_the_grids(region: str, arn: str) -> None:
    function = deployed("pricing", grid=OwnGrid(region=region))
    found = worker_environment(function)
    assert [found.get(name) for name in REGION_VARIABLES] == [region or None] * 2
    assert function_arn(function) == f"arn:aws:lambda:{arn}:000000000000:function:pricing:1"
    assert not set(REGION_VARIABLES) & worker_environment(FunctionRef("key", "s-1", spec())).keys()
