"""Run every example of a page, one after another: ``python -m tests.docs.run_page PAGE``, in an empty folder.

The Python blocks share one ``__main__``, as the cells of a notebook do; those in bash have the page's folder in
common. What a block prints must be what the page shows below it, if the page shows anything.
"""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

from tests.docs.pages import Block, with_outputs

PORT = "8080"  # of servers in examples, in the place of which any is taken that is free


def main(page: Path) -> None:
    """Run the page."""
    port = _free_port()
    namespace = types.ModuleType("__main__")
    sys.modules["__main__"] = namespace  # what a block defines is found, and pickled, as in a script
    for block, shown in with_outputs(page.read_text()):
        if block.note.startswith("file: "):
            Path(block.note.removeprefix("file: ")).write_text(block.code)
        elif block.is_run:
            printed = _run(page, replace(block, code=block.code.replace(PORT, port)), namespace)
            if shown is not None:
                assert printed.strip() == shown.strip(), (
                    f"{page.name}, line {block.line} printed:\n{printed}\nnot, as the page says:\n{shown}"
                )


def _free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def _run(page: Path, block: Block, namespace: types.ModuleType) -> str:
    """What the block prints."""
    if block.language == "bash":
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code], stdout=subprocess.PIPE, text=True, check=False
        )
        assert done.returncode == 0, f"{page.name}, line {block.line}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout
    # Blank lines before it, so that a traceback names the page's own lines.
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace.__dict__)
    return printed.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
