"""A PostgreSQL of its own for Airflow's metadata, from the Debian package."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.airflow.system.server import Server, free_port


def binaries() -> Path | None:
    """The folder of the newest initdb and postgres, or None if there is none."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@contextlib.contextmanager
def metadata_database(home: Path) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database: PostgreSQL, or SQLite in ``home`` where there is none."""
    folder = binaries()
    if folder is None:
        print("Airflow's database is SQLite: no PostgreSQL here (apt-get install postgresql)", file=sys.stderr)
        yield f"sqlite:///{home}/airflow.db"
        return
    with postgres(folder) as port:
        yield f"postgresql+psycopg2://postgres@127.0.0.1:{port}/airflow"


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[int]:
    """The port of a running server; it refuses to run as root, who becomes ``postgres`` for it."""
    data = Path(tempfile.mkdtemp(prefix="htcgrid-postgres-"))
    runner: tuple[str, ...] = ()
    if os.geteuid() == 0:
        runner = ("runuser", "-u", "postgres", "--")
        os.chown(data, pwd.getpwnam("postgres").pw_uid, -1)
    try:
        init = [*runner, str(folder / "initdb"), "-D", str(data / "pg"), "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run(init, check=True, capture_output=True, cwd=data)
        port = free_port()
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "synchronous_commit=off")
        options = [word for setting in settings for word in ("-c", setting)]
        command = [*runner, str(folder / "postgres"), "-D", str(data / "pg"), "-p", str(port), *options]
        server = Server(command, data / "log", os.environ, data)
        try:
            _create(folder, port, server)
            yield port
        finally:
            server.stop()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _create(folder: Path, port: int, server: Server) -> None:
    from tests.e2e.support import eventually

    where = ("-h", "127.0.0.1", "-p", str(port), "-U", "postgres")

    def ready() -> bool:
        return subprocess.run([folder / "pg_isready", *where], capture_output=True).returncode == 0

    eventually(ready, "PostgreSQL accepts connections")
    done = subprocess.run([folder / "createdb", *where, "airflow"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + server.tail()
