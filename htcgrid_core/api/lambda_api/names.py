"""Names of functions as AWS Lambda takes them: NAME, NAME:QUALIFIER, and ARNs whole or in part."""

from __future__ import annotations

import re

from htcgrid_core.api.lambda_api.errors import LambdaError

LATEST = "$LATEST"
_NAME = re.compile(
    r"(arn:aws[a-z-]*:lambda:)?([a-z]{2}[a-z-]*-\d:)?(\d{12}:)?(function:)?"
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,63})(:(?P<qualifier>\$LATEST|[A-Za-z0-9_-]{1,128}))?"
)


def name_and_qualifier(said: str, qualifier: str = "") -> tuple[str, str]:
    """Of a function's name, and a qualifier that came by itself; empty for the latest version.

    Raises:
        LambdaError: it is no name, or there are two qualifiers.
    """
    found = _NAME.fullmatch(said)
    if found is None:
        raise LambdaError("InvalidParameterValueException", f"{said[:200]!r} is no function's name")
    inside = found["qualifier"] or ""
    if inside and qualifier and inside != qualifier:
        raise LambdaError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    wanted = inside or qualifier
    if wanted and not re.fullmatch(r"\$LATEST|[A-Za-z0-9_-]{1,128}", wanted):
        raise LambdaError("InvalidParameterValueException", f"{wanted[:200]!r} is no qualifier")
    return found["name"], "" if wanted == LATEST else wanted


def arn(region: str, name: str, qualifier: str = "") -> str:
    """An ARN for those who show one; there is no account."""
    return f"arn:aws:lambda:{region}:000000000000:function:{name}" + (f":{qualifier}" if qualifier else "")
