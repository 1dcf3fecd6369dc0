"""What the first submitter's process is like, who starts the agent, changes neither the agent nor its workers."""

from __future__ import annotations

import json
import signal
import sys
import zipfile
from pathlib import Path

from htcgrid_core.local.agent_processes import stop_agents
from tests.e2e.support import directory_of, run_script

GLIBC = 1 << 31 | 1 << 32  # signals 32 and 33

DEAF = """
import json, signal, subprocess, sys
from htcgrid_core import connect

def signals(event):
    import signal, subprocess
    ignored = [n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
    masks = subprocess.run(["sh", "-c", "grep -E 'Sig(Ign|Blk)' /proc/self/status"], capture_output=True, text=True)
    code = subprocess.run(["sh", "-c", "exit 3"]).returncode
    blocked = [int(n) for n in signal.pthread_sigmask(0, ())]
    return sorted(map(int, ignored)), masks.stdout.split()[1::2], code, blocked

for number in signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM])
with connect(sys.argv[1]) as grid:
    print(json.dumps(list(grid.submit(signals, [1]).results())[0]))
"""

APP = """
import sys
from htcgrid_core import connect
from book.pricing import price
def mine(event): return price(event)
with connect(sys.argv[1]) as grid:
    for function in price, mine, "book.pricing.handler":
        print(list(grid.submit(function, [1, 2]).results()))
"""


def test_its_signals_are_its_own(grid_url: str, tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(DEAF)
    ran = run_script(tmp_path / "deaf.py", grid_url)
    ignored, masks, code, blocked = json.loads(ran.stdout)
    assert ignored == sorted([signal.SIGPIPE, signal.SIGXFSZ])  # Python's own
    assert code == 3
    assert blocked == []
    # Of what a task starts; but for the two signals that glibc keeps for itself, and may just be about to let through.
    assert sys.platform != "linux" or {int(mask, 16) & ~GLIBC for mask in masks} == {0}
    assert stop_agents(directory_of(grid_url)) == []


def test_modules_of_a_zip_archive_are_workers_too(grid_url: str, tmp_path: Path) -> None:
    app = tmp_path / "app.pyz"
    with zipfile.ZipFile(app, "w") as file:
        file.writestr("__main__.py", APP)
        file.writestr("book/__init__.py", "")
        file.writestr("book/pricing.py", "def price(x): return 3 * x\ndef handler(event, context): return 3 * event\n")
    assert run_script(app, grid_url).stdout.split("\n")[:-1] == 3 * ["[3, 6]"]
