"""Schemathesis over the whole document, by principals of each kind: ``python -m tests.fuzz_rest ST [OPTIONS]``.

Each run has a server and a grid of its own. All checks are made, also that nothing of a session that one tenant's key
was refused is told to it. A finding ends the run with 1, once all principals have had their turn.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from itertools import dropwhile
from pathlib import Path

from tests.e2e.support import fresh_grid
from tests.rest import Rest
from tests.served import key, serving

KEYS = [
    key("everything", "read submit code operate hold"),
    key("two-tenants", "read submit code", "acme other"),
    key("reader", "read", "acme"),
    key("submitter", "submit", "acme"),
    key("coder", "code", "acme"),
    key("operator", "operate", "acme"),
    key("keeper", "hold", "acme"),
]
# What fits the document is taken, or 422: a function is not there, a destination nowhere. What does not fit is 400.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]
"""
FAULTS = ("Traceback", "ERROR", "CRITICAL")  # of a server's log, which has none if all goes well
LOG_LINES = 200  # of it that are shown


def deploy(rest: Rest, tenant: str) -> None:
    """A function that sessions can be submitted of."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("code.py", "def handler(event, context):\n    return event\n")
    query = {"handler": "code.handler", "tenant": tenant}
    assert rest.post("/v1/functions/pricing", buffer.getvalue(), media="application/zip", **query).status == 201


def main() -> int:
    """Run; 1 if there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_rest", description=__doc__)
    parser.add_argument("st", help="the program of schemathesis")
    parser.add_argument("--cases", type=int, default=30, help="for each operation and principal")
    parser.add_argument("--phases", default="coverage,fuzzing,stateful")
    parser.add_argument("--only", help="the principal of this name")
    asked, more = parser.parse_known_args()
    st = str(Path(asked.st).absolute())  # not resolved: a virtual environment is known by its link
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with (
            fresh_grid(Path(folder) / "grid") as url,
            log.open("w") as stderr,
            serving(url, Path(folder) / "keys.json", keys=KEYS, stderr=stderr) as server,
        ):
            environ = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_rest_hooks", "PYTHONPATH": str(Path(__file__).parent)}
            (Path(folder) / "schemathesis.toml").write_text(CONFIG)
            for tenant in ("default", "acme", "other"):
                deploy(Rest(server.url, server.token), tenant)
            document = Path(folder) / "openapi.json"
            document.write_bytes(Rest(server.url, server.token).get("/openapi.json").body)
            tokens = [(one.name, one.secret) for one in KEYS] + [("nobody", "")]
            for name, token in tokens:
                if asked.only not in (None, name):
                    continue
                print(f"== {name}", flush=True)
                command = [st, "run", str(document), "--url", server.url, "--phases", asked.phases]
                command += ["-n", str(asked.cases), "--checks", "all", "--continue-on-failure", "--seed", "7"]
                command += ["--request-timeout", "30", "--no-color", *more]
                if token:
                    command += ["-H", f"Authorization: Bearer {token}"]
                if subprocess.run(command, cwd=folder, env=environ, check=False).returncode:
                    failed.append(name)
        told = list(dropwhile(lambda line: not any(fault in line for fault in FAULTS), log.read_text().splitlines()))
    if told:
        print("the server's log, from its first fault on:", *told[:LOG_LINES], sep="\n")
    if failed:
        print(f"findings by: {', '.join(failed)}")
    return int(bool(failed or told))


if __name__ == "__main__":
    sys.exit(main())
