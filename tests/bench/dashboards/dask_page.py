"""Dask with its page, busy with so many tasks; run by a Python that has distributed and bokeh."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main(tasks: int) -> None:
    """Submit, say where the page is, and stay until told to end."""
    from distributed import Client, LocalCluster  # type: ignore[import-not-found] # of the peers' environment

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        futures: Any = client.map(time.sleep, [0.01] * tasks, pure=False)
        ready = "window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
        print(json.dumps({"url": cluster.dashboard_link, "pids": [os.getpid()], "ready": ready}), flush=True)
        sys.stdin.readline()
        del futures


if __name__ == "__main__":
    main(int(sys.argv[1]))
