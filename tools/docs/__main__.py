"""Write the generated parts of the documentation, rules and dashboards, or with ``--check`` say which are stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

from tools.docs import (
    api,
    architecture,
    commands,
    costs,
    lifecycle,
    metrics,
    numbers,
    options,
    outcomes,
    reference,
    terminal,
    terraform,
)
from tools.docs.places import REPOSITORY, documents
from tools.docs.sections import filled
from tools.monitoring import rules
from tools.monitoring.files import generated

GENERATORS: dict[str, Callable[[], str]] = {
    "architecture-picture": architecture.picture,
    "architecture-table": architecture.table,
    **{f"{package.name}-files": partial(architecture.files, package) for package in architecture.packages()},
    "session-lifecycle": lifecycle.session,
    "task-lifecycle": lifecycle.task,
    "limits": numbers.tables,
    "limits-for-users": numbers.for_users,
    "limits-relations": numbers.relations,
    "url-options": options.url,
    "agent-settings": options.agents,
    "passed-variables": options.passed_variables,
    "thread-variables": options.thread_variables,
    "metrics": metrics.tables,
    "alerts": rules.table,
    "cloudwatch-metrics": metrics.billed,
    "idle-cost": costs.idle,
    "idle-functions-cost": costs.idle_functions,
    "million-tasks-cost": costs.million,
    "compute-cost": costs.computed,
    "step-functions-outcomes": outcomes.table,
    "commands": commands.reference,
    "terminal": terminal.transcript,
    "reference": reference.reference,
    "api-operations": api.operations,
    "api-problems": api.problems,
    **{terraform.section(name, "variables"): partial(terraform.variables, name) for name in terraform.modules()},
    **{terraform.section(name, "outputs"): partial(terraform.outputs, name) for name in terraform.modules()},
}


def main() -> int:
    """Run; 1 if ``--check`` finds a stale page."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if a page is stale")
    check = parser.parse_args().check
    stale = False
    for path in documents():
        page = path.read_text()
        new = filled(page, GENERATORS)
        if new == page:
            continue
        stale = True
        sys.stdout.write(f"{path.relative_to(REPOSITORY)}: {'stale' if check else 'written'}\n")
        if not check:
            path.write_text(new)
    for path, text in generated().items():
        if path.exists() and path.read_text() == text:
            continue
        stale = True
        sys.stdout.write(f"{path.relative_to(REPOSITORY)}: {'stale' if check else 'written'}\n")
        if not check:
            path.write_text(text)
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
