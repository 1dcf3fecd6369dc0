"""A worker's process before it is one: sets its limits, unpacks its package, and becomes its command.

The agent is not held up by a large package, and is not there where one is unpacked that should not be.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import NoReturn

from htcgrid_core.agent import interpreter

# Exit codes, as in sysexits.h. What is neither is the package's fault too: it was run by its own variables, and within
# its own memory.
BAD_PACKAGE = 65  # EX_DATAERR: it cannot be unpacked anywhere, or its command cannot be run
BAD_MACHINE = 71  # EX_OSERR: it cannot be unpacked here
# Names the descriptor of a pipe to which is written why it cannot be unpacked here: the command behind may have exit
# codes of its own, and does not get it. What is printed may be lost, as on a full disk.
TROUBLE_VARIABLE = "_HTCGRID_TROUBLE"
_NEVER_WRITTEN = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ, errno.EINVAL)


def launcher(
    cache: Path, digest: str, package: str, limit_bytes: int, memory_mb: int | None, tenant: str
) -> tuple[str, ...]:
    """The command that prepares a package for the command behind it, which runs tasks of one tenant."""
    arguments = (cache, digest, package, limit_bytes, memory_mb or 0, os.getpid(), tenant)
    return (*interpreter.command("htcgrid_core.agent.workers.launch"), *map(str, arguments))


def main() -> None:
    """``...workers.launch CACHE DIGEST PACKAGE LIMIT_BYTES MEMORY_MB AGENT_PID TENANT COMMAND...``."""
    from htcgrid_core.agent.signals import leave_python
    from htcgrid_core.agent.workers.limits import confine
    from htcgrid_core.agent.workers.unpacked_packages import bytecode_folder, hold, task_folder
    from htcgrid_core.domain.errors import InvalidPackage

    cache, digest, package = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    limit_bytes, memory_mb, agent_pid = map(int, sys.argv[4:7])
    tenant, command = sys.argv[7], sys.argv[8:]
    confine(memory_mb)
    trouble = int(os.environ.pop(TROUBLE_VARIABLE, -1))
    if trouble >= 0:
        os.set_inheritable(trouble, False)
    if os.getppid() != agent_pid:
        return  # the agent died before its death was a signal for us
    try:
        hold(cache, digest, package, limit_bytes)
        os.chdir(task_folder(cache, digest))
    except InvalidPackage as error:
        _end(BAD_PACKAGE, str(error))
    except MemoryError:
        size = f"{package.stat().st_size / (1 << 20):.1f} MiB"
        _end(BAD_PACKAGE, f"the package, {size} zipped, cannot be unpacked in {memory_mb} MiB: raise memory_mb")
    except OSError as error:
        why = f"package {digest} cannot be unpacked in {cache}: {error}"
        if error.errno in _NEVER_WRITTEN:
            _end(BAD_PACKAGE, why)
        if trouble >= 0:
            os.write(trouble, os.fsencode(why))
        _end(BAD_MACHINE, why)
    os.environ["PYTHONPYCACHEPREFIX"] = str(bytecode_folder(cache, digest, tenant))
    leave_python()
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell, and what the function was deployed with
    except OSError as error:
        _end(BAD_PACKAGE, f"{command[0]} cannot be run: {error}")


def _end(code: int, why: str) -> NoReturn:
    with contextlib.suppress(OSError):  # where the disk is full
        print(why, file=sys.stderr, flush=True)  # noqa: T201 - the agent reads it
    sys.exit(code)


if __name__ == "__main__":
    main()
