"""Links from a session to what it belongs to: a DAG run, a flow run, an execution, its logs. An operator's setting."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from htcgrid_core.domain.errors import InvalidInput

PLACE = re.compile(r"\{([^{}]{1,256})\}")
MOST = 4096


@dataclass(frozen=True, slots=True)
class Link:
    """Where sessions lead to.

    Attributes:
        name: as it is shown.
        template: an address in which ``{NAME}`` is the value of the session's label NAME, and ``{session.id}`` its id.
    """

    name: str
    template: str

    @classmethod
    def read(cls, text: str) -> Self:
        """One of ``NAME=TEMPLATE``.

        Raises:
            InvalidInput: it is no address of http or https, or where it leads to would be a label's to say: labels
                are their submitters'.
        """
        name, equals, template = text.partition("=")
        if not equals or not name.strip() or len(text) > MOST:
            raise InvalidInput(f"a link is NAME=TEMPLATE: {text!r} is none")
        try:
            parts = urlsplit(template)
            host = parts.hostname
        except ValueError:
            parts, host = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise InvalidInput(f"a link leads to an address of http or https, without a user: {template!r} is none")
        if "{" in parts.netloc or "}" in parts.netloc:
            raise InvalidInput(f"a link's host is the operator's to say, and no label's: {template!r}")
        if not PLACE.search(template) or "{" in PLACE.sub("", template) or "}" in PLACE.sub("", template):
            raise InvalidInput(f"a link names labels in braces, as in https://host/runs/{{airflow.run}}: {template!r}")
        return cls(name.strip(), template)
