"""AWS's own identities: whoever signed a request to API Gateway, or to a function's URL, as AWS tells the function.

Only what AWS itself puts into a function's event is believed, and so this is of use within AWS Lambda alone. Whoever
may invoke the function directly could say that he is anybody: nobody but API Gateway, or its URL, is to have that
permission.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request

from htcgrid_core.api.auth.principal import Principal, Scope
from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import problems
from htcgrid_core.domain.errors import InvalidInput

EVENT = "aws.event"  # where the adapter keeps it, in a request's scope: no header gets there
_CALLER = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>[0-9]{12}):(?P<what>root|role/.+|user/.+)")
_SIGNER = re.compile(r"arn:aws[a-z-]*:(iam|sts)::(?P<account>[0-9]{12}):(?P<what>.+)")


class Caller(BaseModel):
    """Who may ask, and what for.

    Attributes:
        arn: of a role or a user; or ``arn:aws:iam::ACCOUNT:root``, for anybody of an account whom IAM lets ask.
        tenants: ``*`` for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arn: str = Field(pattern=f"^{_CALLER.pattern.replace('?P<account>', '').replace('?P<what>', '')}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    tenants: frozenset[Annotated[str, Field(pattern=r"^(\*|[a-z0-9][a-z0-9-]{0,31})$")]] = Field(min_length=1)


_CALLERS = TypeAdapter(list[Caller])


def parse_callers(text: str) -> list[Caller]:
    """Callers of a JSON list.

    Raises:
        InvalidInput: it is none, or names somebody twice: which of the two counts would be a guess.
    """
    try:
        found = _CALLERS.validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"these are no callers: {wrong}") from None
    if twice := [one for one, times in Counter(_identity(caller.arn) for caller in found).items() if times > 1]:
        named = ", ".join(f"{what} of account {account}" for account, what in twice)
        raise InvalidInput(f"these are no callers: {named} is there more than once, paths aside")
    return found


class IamWay:
    """A request that AWS has found to be signed by one of its identities."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        self._callers = {_identity(caller.arn): caller for caller in callers}

    async def principal(self, request: Request) -> Principal | None:
        """See ``Way``."""
        arn = signer_in(request.scope.get(EVENT) or {})
        if not arn:
            return None
        identity = _identity(arn)
        caller = self._callers.get(identity) or self._callers.get((identity[0], "root"))
        if caller is None:
            raise Failure(problems.FORBIDDEN, f"{arn} is none of the callers that this function knows")
        return Principal(arn.partition("::")[2][:128], caller.scopes, caller.tenants)


def signer_in(event: Any) -> str:
    """The ARN of who signed a request, in an event of payload format 2.0; empty for nobody."""
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    return str((authorizer.get("iam") or {}).get("userArn") or "")


def _identity(arn: str) -> tuple[str, str]:
    """Account, and role or user by name: of a role, STS does not tell the path, and names are unique without."""
    found = _SIGNER.fullmatch(arn)
    if found is None:
        return "", arn
    kind, _, rest = found["what"].partition("/")
    if kind == "assumed-role":
        return found["account"], f"role/{rest.partition('/')[0]}"
    if kind in ("role", "user"):
        return found["account"], f"{kind}/{rest.rpartition('/')[2]}"
    return found["account"], found["what"]
