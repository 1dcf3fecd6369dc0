"""A topic of Kafka by its URL; what its client is told beside comes from a file, as there are secrets among it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from htcgrid_core.domain.errors import InvalidInput

VARIABLE = "HTCGRID_KAFKA_CONFIG"
PREFERRED = {  # but for what the configuration says
    "client.id": "htcgrid",
    "log_level": "2",  # what fails, our own errors tell, and not at each try to connect
}
_BROKERS = "bootstrap.servers"
_OURS = frozenset(  # on which it depends that a record is read, and a result written, once
    {
        "auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence",
        "enable.partition.eof", "group.instance.id", "isolation.level", "transactional.id",
    }
)  # fmt: skip
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SECRET = re.compile(r"password|secret|token|\.pem|sasl\.oauthbearer\.config|jaas", re.IGNORECASE)
_FORM = "kafka://HOST:PORT,HOST:PORT/TOPIC"


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic, and how its brokers are reached.

    Attributes:
        name: its URL, for messages.
        topic: its name there.
        settings: of librdkafka.
    """

    name: str
    topic: str
    settings: Mapping[str, str] = field(repr=False)

    def without_secrets(self, text: str) -> str:
        """What the client says, as messages may have it."""
        for key, value in self.settings.items():
            if value and _SECRET.search(key):
                text = text.replace(value, "***")
        return text


def topic_of(url: str) -> KafkaTopic:
    """The topic of ``kafka://HOST:PORT,.../TOPIC?config=FILE``.

    The file has a line ``KEY=VALUE`` for each setting of librdkafka: ``security.protocol``, ``sasl.username``. Without
    ``config`` it is that of ``$HTCGRID_KAFKA_CONFIG``, if set. Brokers may stand there, too: ``kafka:///TOPIC``.

    Raises:
        InvalidInput: it is no such URL, or the file is none.
    """
    parts = urlsplit(url)
    topic = parts.path.removeprefix("/")
    shown = f"kafka://{parts.netloc.rpartition('@')[2]}/{topic}"
    if "@" in parts.netloc:
        raise InvalidInput(f"{shown}: name and password belong into the file that config= or ${VARIABLE} names")
    if parts.scheme != "kafka" or parts.fragment or not _TOPIC.fullmatch(topic):
        raise InvalidInput(f"{shown!r} is no topic of Kafka: {_FORM}")
    try:
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise InvalidInput(f"{shown!r} is no topic of Kafka: {error}") from error
    path = options.pop("config", None) or os.environ.get(VARIABLE)
    if options:
        raise InvalidInput(f"{shown!r} is no topic of Kafka: {next(iter(options))} is no option of it, but config is")
    settings = {} if not path else _settings_in(Path(path).expanduser())
    if parts.netloc and _BROKERS in settings:
        raise InvalidInput(f"{shown}: {_BROKERS} stands in {path}, too; leave it out there, or say kafka:///{topic}")
    if parts.netloc:
        settings[_BROKERS] = parts.netloc
    if not settings.get(_BROKERS):
        raise InvalidInput(f"{shown!r} names no brokers: {_FORM}")
    return KafkaTopic(shown if parts.netloc else f"kafka://{settings[_BROKERS]}/{topic}", topic, settings)


def _settings_in(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}, which is to configure Kafka's client, cannot be read: {error}") from error
    settings: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        key = key.strip()
        if not equals or not key:  # whose text may be a secret
            raise InvalidInput(f"{path}, line {number}: it is not KEY=VALUE")
        if key in _OURS:
            raise InvalidInput(f"{path}, line {number}: {key} is not yours to set; leave it out")
        settings[key] = value.strip()
    return settings
