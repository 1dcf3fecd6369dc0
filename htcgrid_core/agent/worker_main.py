"""Where agents find the native worker, whatever their release and its.

A worker is of the release that the submitter's interpreter has, which need not be the agent's. So this module's name,
and what both say to each other (``workers.native.wire``), stay as they are.
"""

from __future__ import annotations

from htcgrid_core.agent.workers.native.worker_main import main

if __name__ == "__main__":
    main()
