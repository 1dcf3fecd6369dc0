"""The REST API of a grid, behind API Gateway or the function's URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from htcgrid_core.adapters.aws.kept_text import read_kept, title_of
from htcgrid_core.api.auth.authenticator import Authenticator, KeyWay, Way
from htcgrid_core.api.auth.iam import IamWay, parse_callers
from htcgrid_core.api.auth.kept_keys import KeptKeys
from htcgrid_core.api.on_lambda import LambdaApi
from htcgrid_core.cloud.deployment import CloudGrid
from htcgrid_core.cloud.lambda_function import LambdaContext, served_grid
from htcgrid_core.cloud.logs import configure
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.served import ServedGrid

KEYS = "HTCGRID_API_KEYS"  # ARN of the secret, or name of the SSM parameter, whose text is a file of `htcgrid api-keys`
CALLERS = "HTCGRID_API_CALLERS"  # JSON: whom of IAM's identities API Gateway, or the function's URL, may let ask
ISSUER = "HTCGRID_JWT_ISSUER"
ISSUER_KEYS = "HTCGRID_JWT_KEYS_URL"
AUDIENCES = "HTCGRID_JWT_AUDIENCES"  # words
CLIENTS = "HTCGRID_JWT_CLIENTS"  # words
TENANTS_CLAIM = "HTCGRID_JWT_TENANTS"
SPARE_SECONDS = 5.0  # of the function's time


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request; or, asked by a schedule, submit uploads that were left.

    Raises:
        GridError: the grid cannot be used, or the function's environment is no good.
    """
    api = _opened()
    if "requestContext" in event:
        return api.answer(event, context)
    return api.submit_uploads(context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS)


@lru_cache(maxsize=1)
def _opened() -> LambdaApi:
    configure(style="json")
    deployment = CloudGrid(served_grid())
    return LambdaApi(ServedGrid(InProcessGateway(deployment)), Authenticator(_ways(deployment.cloud)))


def _ways(cloud: CloudPlane) -> list[Way]:
    """How requests may prove who asks.

    Raises:
        InvalidInput: in no way.
    """
    found: list[Way] = []
    if callers := os.environ.get(CALLERS):
        found.append(IamWay(parse_callers(callers)))
    if where := os.environ.get(KEYS):
        found.append(KeyWay(KeptKeys(title_of(where), lambda: read_kept(cloud.clients, where))))
    if issuer := os.environ.get(ISSUER):
        found.append(_tokens(issuer))
    if not found:
        raise InvalidInput(f"nobody could ask: set {KEYS}, {CALLERS} or {ISSUER}")
    return found


def _tokens(issuer: str) -> Way:
    from htcgrid_core.api.auth.tokens import TENANTS_CLAIM as USUAL
    from htcgrid_core.api.auth.tokens import Issuer, TokenWay  # cryptography takes a while

    said = os.environ.get
    audiences, clients = said(AUDIENCES, "").split(), said(CLIENTS, "").split()
    return TokenWay(Issuer(issuer, said(ISSUER_KEYS, ""), audiences, clients, said(TENANTS_CLAIM) or USUAL))
