"""Ray with its page, busy with so many tasks; run by a Python that has ray[default]."""

from __future__ import annotations

import json
import sys
import threading
import time

import psutil


def main(tasks: int) -> None:
    """Submit, say where the page is, and stay until told to end."""
    import ray  # type: ignore[import-not-found] # of the peers' environment

    found = ray.init(num_cpus=2, include_dashboard=True, dashboard_port=0, log_to_driver=False)

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
