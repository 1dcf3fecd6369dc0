"""Whence requests come, for the audit."""

from __future__ import annotations

from starlette.requests import Request


def address_of(request: Request) -> str:
    """The address of whoever sent it; empty if that is not known."""
    return request.client.host if request.client is not None else ""
