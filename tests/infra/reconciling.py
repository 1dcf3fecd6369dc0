"""``python -m tests.infra.reconciling URL``: a tick of the reconciler three months on, when all has expired."""

from __future__ import annotations

import sys

from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.cloud.reconcile import tick
from tests.aws.skewed_agent import Skewed

AHEAD_SECONDS = 61 * 86400.0

if __name__ == "__main__":
    cloud = open_cloud(parse_aws(sys.argv[1]), clock=Skewed(AHEAD_SECONDS))
    done = tick(cloud, thorough=True)
    cloud.close()
    print(done.sessions.expired, len(done.swept.deleted) if done.swept else 0)
