"""A server of a grid's REST API, as the process that it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from htcgrid_core.api.auth.keys import Key, generated, new_key, write_keys
from htcgrid_core.api.auth.principal import ALL_TENANTS, Scope

EVERY_SCOPE = frozenset(Scope)


@dataclass
class Server:
    """One that runs."""

    url: str
    key_file: Path
    process: subprocess.Popen[str]
    console: str = ""

    @property
    def keys(self) -> list[Key]:
        """Of its key file."""
        return [Key.model_validate(one) for one in json.loads(self.key_file.read_text())["keys"]]

    @property
    def token(self) -> str:
        """Of its first key."""
        return self.keys[0].secret

    def kill(self) -> None:
        """As a machine's failure does."""
        self.process.kill()
        self.process.wait()


def key(name: str, scopes: str = "read submit code operate hold", tenants: str = ALL_TENANTS, **options: Any) -> Key:
    """A key, with scopes and tenants by name."""
    return new_key(name, frozenset(map(Scope, scopes.split())), frozenset(tenants.split()), **options)


@contextmanager
def serving(
    grid: str,
    key_file: Path,
    *options: str,
    keys: list[Key] | None = None,
    environ: Mapping[str, str] | None = None,
    stderr: IO[str] | None = None,
) -> Iterator[Server]:
    """Serve a grid while the block runs.

    Args:
        keys: that it knows; None for those that are in the file, or one that is generated.
        stderr: its log; None for this process's own.
        options: of ``htcgrid serve``; it listens at any port that is free unless they say where.
    """
    if keys is not None:
        write_keys(key_file, keys)
    else:
        generated(key_file)
    place = () if "--port" in options else ("--port", "0")
    command = [sys.executable, "-m", "htcgrid_core.cli.main", "serve", "--json", "--url", grid, *place]
    process = subprocess.Popen(
        [*command, "--key-file", str(key_file), *options],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **(environ or {})},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the server ended before it was ready"
        told = json.loads(line)
        yield Server(told["url"], key_file, process, told["console"])
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
