"""Keys of the REST API, as an operator keeps them on AWS."""

from __future__ import annotations

import json

from htcgrid_core.api.auth.keys import Key
from tests.aws.emulators import Account


def text_of(*keys: Key) -> str:
    """The text of a file of ``htcgrid api-keys``."""
    return json.dumps({"keys": [json.loads(one.model_dump_json()) for one in keys]})


def secret_of_keys(account: Account, name: str, *keys: Key) -> str:
    """The ARN of a new secret with them."""
    return str(account.client("secretsmanager").create_secret(Name=name, SecretString=text_of(*keys))["ARN"])
