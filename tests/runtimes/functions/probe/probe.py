"""Tells what a handler finds, so that two kinds of worker can be compared."""

import logging
import os
import signal
import sys
from typing import Any

DOCUMENTED = (
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "_HANDLER",
    "_X_AMZN_TRACE_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "TZ",
)  # fmt: skip


def handler(event: dict[str, Any], context: Any) -> Any:
    return globals()[f"_{event['what']}"](event, context)


def _environment(event: Any, context: Any) -> Any:
    credentials = [name for name in os.environ if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_SESSION"))]
    return {name: os.environ.get(name) for name in DOCUMENTED} | {"credentials": credentials}


def _context(event: Any, context: Any) -> Any:
    context.set_by_a_library = 7
    client, identity = context.client_context, context.identity
    return {
        "set": context.set_by_a_library,
        "aws_request_id": context.aws_request_id,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "invoked_function_arn": context.invoked_function_arn,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "log_group_name": context.log_group_name,
        "same_log_stream": context.log_stream_name == os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
        "tenant_id": context.tenant_id,
        "identity": [identity.cognito_identity_id, identity.cognito_identity_pool_id],
        "custom": client.custom,
        "env": client.env,
        "client": [client.client.installation_id, client.client.app_title, client.client.app_package_name],
        "w3c": context.w3c(),
        "milliseconds_left": 0 < context.get_remaining_time_in_millis() <= 30_000,
    }


def _log(event: Any, context: Any) -> Any:
    root = logging.getLogger()
    root.warning("a warning of %s", "the root")
    logging.getLogger("desk.rates").error("an error", extra={"desk": "rates"})
    root.info("not printed, unless a level is set")
    root.setLevel(logging.INFO)
    root.info("printed")
    root.setLevel(event["level"])
    try:
        raise ValueError("no price")
    except ValueError:
        root.exception("it was raised")
    root.error({"a": "dictionary"})
    context.log("by the context\n")


def _trace(event: Any, context: Any) -> Any:
    """What handlers and libraries do with the variable; the next task finds its own again."""
    name = "_X_AMZN_TRACE_ID"
    told: dict[str, Any] = {"got": os.environ.get(name), "in": name in os.environ, "copied": os.environ.copy()[name]}
    told["listed"] = list(os.environ).count(name) == 1 and len(os.environ) == len(list(os.environ))
    os.environ[name] = "Root=own"
    told["set"] = os.getenv(name)
    del os.environ[name]
    told["deleted"] = [name in os.environ, name in os.environ.copy(), len(os.environ) == len(list(os.environ))]
    return told


def _print_and_die(event: Any, context: Any) -> Any:
    print("to stdout")
    logging.getLogger().error("logged")
    print("to stderr", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)


def _client(event: Any, context: Any) -> Any:
    return {"client": "awslambdaric.bootstrap" in sys.modules, "wrapped": os.environ.get("WRAPPED")}
