"""Ray with its page, busy with so many tasks; run by a Python that has ray[default]."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import psutil

STARTS = 5


def _started(ray: Any) -> Any:
    """Ray, with its page; on a machine that is busy it may not come up in the time that it gives itself.

    Its raylet ends if its dashboard's agent has no port after 15 s, and ``ray.init`` gives up after 30 s. What is in
    memory by then starts faster the next time.
    """
    starts = 0
    while True:
        try:
            return ray.init(num_cpus=2, include_dashboard=True, dashboard_port=0, log_to_driver=False)
        except Exception as error:
            starts += 1
            if starts == STARTS:
                raise
            print(f"Ray did not start: {error}"[:300], file=sys.stderr)
            ray.shutdown()


def main(tasks: int) -> None:
    """Submit, say where the page is, and stay until told to end."""
    import ray  # type: ignore[import-not-found] # of the peers' environment

    found = _started(ray)

    @ray.remote  # type: ignore[untyped-decorator]
    def work() -> None:
        time.sleep(0.01)

    references: list[object] = []
    submitting = threading.Thread(target=lambda: references.extend(work.remote() for _ in range(tasks)), daemon=True)
    submitting.start()
    submitting.join(120)
    job = ray.get_runtime_context().get_job_id()
    scheduling = [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if any(name in " ".join(process.cmdline()) for name in ("gcs_server", "raylet", "dashboard"))
        and "worker" not in process.name()
    ]
    ready = "/RUNNING|Running|Finished|FINISHED/.test(document.body.innerText)"
    url = f"http://{found.dashboard_url}/#/jobs/{job}"
    print(json.dumps({"url": url, "pids": scheduling, "ready": ready}), flush=True)
    sys.stdin.readline()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
