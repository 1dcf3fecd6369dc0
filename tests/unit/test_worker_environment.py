"""What handlers see of their agent's environment: what they need, and nothing that is secret."""

from __future__ import annotations

import pytest

from htcgrid_core.agent.workers.environment import PASS_MORE, worker_environment
from htcgrid_core.agent.workers.threads import AS_OPENMP, BY_THEMSELVES, OPENMP, VARIABLES, limited
from htcgrid_core.ports.worker import FunctionRef, OwnGrid
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
