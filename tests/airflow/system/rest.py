"""Airflow's REST API, as far as the tests need it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

GUARD_SECONDS = 240.0  # only a test that would hang for ever notices it
ENDED = {"success", "failed"}


class AirflowApi:
    """A client with an administrator's token."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, timeout=GUARD_SECONDS)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: str) -> Any:
        """One call under /api/v2.

        Raises:
            httpx.HTTPStatusError: with Airflow's own words.
        """
        if "Authorization" not in self._http.headers:
            self._http.headers["Authorization"] = f"Bearer {self.token('admin')}"
        answer = self._http.request(method, f"/api/v2/{path}", json=body, params=params)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.json() if answer.content else None

    def token(self, user: str) -> str:
        """A user's token; the tests' users have their names for passwords."""
        answer = self._http.post("/auth/token", json={"username": user, "password": user}).raise_for_status()
        return str(answer.json()["access_token"])

    def get(self, url: str, **options: Any) -> httpx.Response:
        """Any page of the api-server, with the token."""
        self.call("GET", "version")  # gets the token
        return self._http.get(url, **options)

    def healthy(self, *components: str) -> bool:
        """Whether these components say they are well."""
        try:
            health = self._http.get("/api/v2/monitor/health").json()
        except httpx.TransportError:
            return False
        return all(health.get(name, {}).get("status") == "healthy" for name in components)

    # Runs

    def known(self, dag_id: str) -> bool:
        """Whether the DAG has been parsed."""
        try:
            self.call("GET", f"dags/{dag_id}")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 404:
                return False
            raise
        return True

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any] | None = None) -> None:
        """Start a run of a DAG."""
        eventually(lambda: self.known(dag_id), f"{dag_id} is parsed")
        self.call("PATCH", f"dags/{dag_id}", {"is_paused": False}, update_mask="is_paused")
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        self.call("POST", f"dags/{dag_id}/dagRuns", body)

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        return str(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def run_ended(self, dag_id: str, run_id: str) -> str:
        """Wait for the run's end; return its state."""
        eventually(lambda: self.run_state(dag_id, run_id) in ENDED, f"{dag_id} {run_id} has ended")
        return self.run_state(dag_id, run_id)

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", {"state": state}, update_mask="state")

    # Task instances

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """A task instance."""
        found: dict[str, Any] = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def task_in(self, dag_id: str, run_id: str, task_id: str, *states: str) -> dict[str, Any]:
        """Wait until the task is in one of these states."""

        def there() -> dict[str, Any] | None:
            found = self.task(dag_id, run_id, task_id)
            return found if found["state"] in states else None

        return eventually(there, lambda: f"{task_id} in {states}, now {self.task(dag_id, run_id, task_id)['state']}")

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task instance success or failed."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task instance, which runs it again."""
        body = {
            "dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False, "reset_dag_runs": True,
        }  # fmt: skip
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """What an attempt logged, one event a line, and one for each exception."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self.call("GET", path, full_content="true")["content"]
        return "\n".join(text for line in content for text in _texts(line))

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """An XCom's value."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", path, deserialize="false", stringify="false")["value"]

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """The operator's extra links, by name."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        links: dict[str, str | None] = self.call("GET", path)["extra_links"]
        return links


def _texts(line: str | dict[str, Any]) -> list[str]:
    if isinstance(line, str):
        return [line]
    errors = line.get("error_detail") or ()
    return [str(line.get("event", "")), *(f"{error['exc_type']}: {error['exc_value']}" for error in errors)]


def eventually(fact: Callable[[], T | None], what: str | Callable[[], str], seconds: float = GUARD_SECONDS) -> T:
    """Wait until ``fact()`` is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, f"never came true: {what if isinstance(what, str) else what()}"
        time.sleep(0.1)
    return found
