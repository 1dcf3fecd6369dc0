"""``python -m tests.function_sandbox MODULE``: one environment of a Lambda function. Events and answers are lines."""

from __future__ import annotations

import importlib
import json
import sys


class Context:
    """Lambda's second argument."""

    aws_request_id = "request"

    def get_remaining_time_in_millis(self) -> int:
        """As if it had just begun."""
        return 29_000


def main(module: str) -> None:
    """Until nobody has another event."""
    handler = importlib.import_module(module).handler
    answers, sys.stdout = sys.stdout, sys.stderr  # what it prints is its log
    for line in sys.stdin:
        try:
            answer = handler(json.loads(line), Context())
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
            answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
