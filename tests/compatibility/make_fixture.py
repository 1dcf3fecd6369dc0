"""Makes a grid with sessions in every state, by whichever release of htcgrid runs this, and packs it.

    python make_fixture.py local DIRECTORY FILE.tar.gz STATEMENTS.json
    python make_fixture.py aws URL FILE.json.gz

It is run by the release of which the file is to tell, so that it uses public names only, and in an environment that
tells nothing of whoever runs it (README.md).
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import old_book  # type: ignore[import-not-found]  # from this folder

import htcgrid_core
from htcgrid_core import Grid, RetryPolicy, Session, connect

RETENTION_SECONDS = 60 * 86400.0
ONE_TRY = RetryPolicy(max_attempts=1)
TWO_TRIES = RetryPolicy(max_attempts=2, backoff_base_seconds=0.1, backoff_cap_seconds=0.1)
LARGE = {"local": 3_000_000, "aws": 30_000}  # characters of an event that has to be in a blob
RECORDER = """
import json, os, sqlite3

class Recording(sqlite3.Connection):
    def execute(self, sql, *parameters):
        with open(os.environ["STATEMENTS"], "a") as file:
            file.write(json.dumps(sql) + "\\n")
        return super().execute(sql, *parameters)

_connect = sqlite3.connect
sqlite3.connect = lambda *args, **options: _connect(*args, factory=Recording, **options)
"""


def make(kind: str, grid: Grid, stop_agents: Callable[[], None]) -> dict[str, str]:
    """Sessions in every state; returns their ids by what became of them."""
    ids: dict[str, str] = {}

    def submitted(what: str, function: Any, events: list[Any], **options: Any) -> Session:
        session = grid.submit(function, events, token=what, retention=RETENTION_SECONDS, **options)
        ids[what] = session.id
        return session

    package = Path("package")
    package.mkdir()
    for factor in (2, 3):
        code = f"def handler(event, context):\n    return [event * {factor}, context.function_version]\n"
        (package / "app.py").write_text(code)
        grid.deploy("scale", package, handler="app.handler", description=f"times {factor}")
    curve = grid.put({"discount": [1.0, 0.97, 0.94]})
    model = grid.put({("Heston", 5): (0.04, "kappa")}, codec="pickle")

    priced = [{"notional": 1000 * n, "rate": 0.5} for n in range(5)]
    submitted("completed", "old_book.price", priced, name="book", labels={"desk": "rates"}, priority="high").wait()
    odd = [{"n": n, "flaky": n % 2 == 1, "bad": n in (2, 5)} for n in range(6)]
    submitted("failed", "old_book.fussy", odd, retry=TWO_TRIES, bundle_size=2).wait()
    submitted("tolerated", "old_book.fussy", odd, retry=TWO_TRIES, max_failures=3).wait()
    strict = submitted("strict", "old_book.fussy", odd, retry=ONE_TRY)
    strict.wait()
    ids["resubmitted"] = grid.resubmit(strict).id
    grid.session(ids["resubmitted"]).wait()
    submitted("pickled", old_book.quote, ["ACME", "unknown", "Börse"], retry=ONE_TRY).wait()
    submitted("deployed", "scale:1", [1, 2, 3]).wait()
    submitted("large", "old_book.repeat", [{"text": "x" * LARGE[kind]}, {"text": "z"}]).wait()
    waiting = [{"n": n, "waits": True, "curve": curve, "model": model} for n in range(4)]
    cancelled = submitted("cancelled", "old_book.gate", waiting, tenant="desk")
    _eventually(lambda: any(task.state == "RUNNING" for task in cancelled.tasks()))
    cancelled.cancel("no longer needed")
    cancelled.wait()
    mixed = [{"n": n, "waits": n >= 4, "curve": curve, "model": model} for n in range(80)]
    running = submitted("running", "old_book.gate", mixed, bundle_size=2)
    _eventually(lambda: running.progress().completed >= 4 and _leased(running) >= 2)
    stop_agents()
    return ids


def _leased(session: Session) -> int:
    return sum(task.state == "RUNNING" for task in session.tasks())


def _eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        time.sleep(0.05)


def local(folder: str, target: str, statements: str) -> None:
    """The embedded grid in a folder."""
    recorder = Path("recorder")
    recorder.mkdir()
    (recorder / "sitecustomize.py").write_text(RECORDER)
    os.environ |= {"PYTHONPATH": str(recorder.absolute()), "STATEMENTS": str(Path("statements").absolute())}
    exec(RECORDER, {})
    root = Path(folder)

    def stop_agents() -> None:
        for lock in (root / "agents").glob("*.lock"):
            os.kill(int(lock.read_text()), signal.SIGKILL)
        time.sleep(1.0)  # for workers to see that their agent is gone

    with connect(f"local://{root}?slots=2") as grid:
        ids = make("local", grid, stop_agents)
    _pack(root, Path(target), ids)
    seen = {json.loads(line) for line in Path("statements").read_text().splitlines()}
    kept = sorted(
        sql for sql in seen if not sql.strip().startswith(("PRAGMA", "BEGIN", "COMMIT", "ROLLBACK", "CREATE"))
    )
    Path(statements).write_text(json.dumps(kept, indent=1) + "\n")


def _pack(root: Path, target: Path, ids: dict[str, str]) -> None:
    with contextlib.closing(sqlite3.connect(root / "grid.db", isolation_level=None)) as db:
        db.execute("DELETE FROM agents")  # they do not live any more
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (root / "fixture.json").write_text(json.dumps({"release": htcgrid_core.__version__, "sessions": ids}))
    files = [root / "grid.db", root / "key", root / "fixture.json", *sorted((root / "blobs").rglob("*"))]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in files:
            if path.is_file():
                entry = tarfile.TarInfo(str(path.relative_to(root)))
                entry.size, entry.mode = path.stat().st_size, 0o600
                with path.open("rb") as file:
                    tar.addfile(entry, file)
    target.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))


def aws(url: str, target: str) -> None:
    """A grid on AWS, or an emulator of it, that is made for this."""
    import boto3

    from htcgrid_core.cloud.address import parse_aws
    from htcgrid_core.cloud.bootstrap import bootstrap

    parameter = bootstrap(parse_aws(url), ("default",))
    program = str(Path(sys.executable).with_name("htcgrid"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "HTCGRID_LEASE_SECONDS": "5"}
    agent = subprocess.Popen([program, "agent", "--url", url, "--slots", "2"], env=environment)

    def stop_agents() -> None:
        agent.kill()
        agent.wait()

    with connect(url) as grid:
        ids = make("aws", grid, stop_agents)
    s3 = boto3.client("s3")
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=parameter.table)
    keys = s3.get_paginator("list_objects_v2").paginate(Bucket=parameter.bucket)
    objects = {
        entry["Key"]: s3.get_object(Bucket=parameter.bucket, Key=entry["Key"])["Body"].read()
        for page in keys
        for entry in page.get("Contents", ())
    }
    secret = boto3.client("ssm").get_parameter(Name=parameter.key, WithDecryption=True)["Parameter"]["Value"]
    dumped = {
        "release": htcgrid_core.__version__,
        "sessions": ids,
        "parameter": parameter.model_dump_json(),
        "key": secret,
        "items": sorted((item for page in pages for item in page["Items"]), key=str),
        "objects": objects,
    }
    text = json.dumps(dumped, indent=1, default=lambda data: base64.b64encode(data).decode())
    Path(target).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    makers: dict[str, Callable[..., None]] = {"local": local, "aws": aws}
    makers[sys.argv[1]](*sys.argv[2:])
