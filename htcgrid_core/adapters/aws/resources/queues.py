"""One queue of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import aws_errors, code_of, is_missing
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.tags import TAG, owner_in, where_there_are_tags

T = TypeVar("T")
PAGE = 1000  # without which SQS lists so many and does not say that there are more


class Queue:
    """An SQS queue.

    Args:
        url: by which the grid's parameter knows it; empty for one that it does not know.
    """

    def __init__(self, clients: Clients, name: str, patience: Patience, url: str = "") -> None:
        self.name = name
        self.url = url
        self._clients = clients
        self._patience = patience

    @classmethod
    def at(cls, clients: Clients, url: str, patience: Patience) -> Queue:
        """The queue of a URL."""
        return cls(clients, url.rpartition("/")[2], patience, url)

    @property
    def label(self) -> str:
        """What it is, for people."""
        return f"queue {self.name}"

    def attributes(self) -> dict[str, str] | None:
        """All attributes; None if there is no such queue."""
        read: Any = self._clients.sqs.get_queue_attributes
        return self._if_there(lambda url: dict(read(QueueUrl=url, AttributeNames=["All"])["Attributes"]))

    def arn(self) -> str:
        """Its ARN, by which another queue names it."""
        with aws_errors(f"SQS queue {self.name}"):
            read = self._clients.sqs.get_queue_attributes
            return read(QueueUrl=self._found(), AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def owner(self) -> str | None:
        """The grid that its tag names."""
        read, nothing = self._clients.sqs.list_queue_tags, dict[str, str]()

        def tags(url: str) -> dict[str, str]:
            return where_there_are_tags(lambda: read(QueueUrl=url).get("Tags", nothing), nothing)

        found = self._if_there(tags)
        return None if found is None else owner_in(found)

    def _if_there(self, call: Callable[[str], T]) -> T | None:
        """What a call about its URL gives; None if there is no such queue."""
        with aws_errors(f"SQS queue {self.name}"):
            try:
                return call(self._found())
            except ClientError as error:
                if not is_missing(error):
                    raise
                return None

    def _found(self) -> str:
        """Its URL, looked up by its name if no parameter told it."""
        self.url = self.url or self._clients.sqs.get_queue_url(QueueName=self.name)["QueueUrl"]
        return self.url

    def claim(self, grid: str) -> None:
        """Tag it as a grid's."""
        tag = self._clients.sqs.tag_queue
        self._if_there(lambda url: where_there_are_tags(lambda: tag(QueueUrl=url, Tags={TAG: grid}), None))

    def named_in(self, parameter: str) -> bool:
        """Whether a grid's parameter names it."""
        return f'/{self.name}"' in parameter

    def make(self, grid: str, attributes: Mapping[str, str]) -> str:
        """Make it unless it is there, with these attributes; its URL. A name that is not free yet is waited for."""
        wait = self._patience.begin()
        while not (url := self._create(grid, dict(attributes))):
            wait.longer(f"{self.label} was deleted less than a minute ago")
        self.url = self.url or url
        return self.url

    def _create(self, grid: str, attributes: Any) -> str:
        """Its URL; empty if its name is not free again yet, of which no other call would tell."""
        sqs = self._clients.sqs
        with aws_errors(f"SQS queue {self.name}"):
            try:
                return sqs.create_queue(QueueName=self.name, Attributes=attributes, tags={TAG: grid})["QueueUrl"]
            except ClientError as error:
                if code_of(error) == "QueueDeletedRecently":
                    return ""
                if code_of(error) not in ("QueueAlreadyExists", "QueueNameExists"):  # with other attributes
                    raise
            url = sqs.get_queue_url(QueueName=self.name)["QueueUrl"]
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
            return url

    def remove(self) -> None:
        """Remove it, if it is there."""
        self._if_there(lambda url: self._clients.sqs.delete_queue(QueueUrl=url))


def queues_with(clients: Clients, prefix: str, patience: Patience) -> Iterator[Queue]:
    """All queues of the account and region whose names begin with ``prefix``."""
    with aws_errors(f"SQS queues {prefix}*"):
        pages = clients.sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=prefix, PaginationConfig={"PageSize": PAGE}
        )
        urls = [url for page in pages for url in page.get("QueueUrls", ())]
    return (Queue.at(clients, url, patience) for url in urls)
