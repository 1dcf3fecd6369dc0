"""The table of a grid."""

from __future__ import annotations

import re
from typing import Any

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.dynamodb import schema
from htcgrid_core.adapters.aws.errors import aws_errors, code_of, is_missing
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.tags import TAG, owner_in, where_there_are_tags

USABLE = ("ACTIVE", "UPDATING")


class Table:
    """A DynamoDB table."""

    def __init__(self, clients: Clients, name: str, patience: Patience) -> None:
        self.name = name
        self._clients = clients
        self._patience = patience

    @property
    def label(self) -> str:
        """What it is, for people."""
        return f"table {self.name}"

    def description(self) -> Any | None:
        """What DescribeTable says; None if there is no such table."""
        with aws_errors(f"DynamoDB table {self.name}"):
            try:
                return self._clients.dynamodb.describe_table(TableName=self.name)["Table"]
            except ClientError as error:
                if not is_missing(error):
                    raise
                return None

    def expiry(self) -> Any:
        """What DescribeTimeToLive says."""
        with aws_errors(f"DynamoDB table {self.name}"):
            return self._clients.dynamodb.describe_time_to_live(TableName=self.name)["TimeToLiveDescription"]

    def owner(self) -> str | None:
        """The grid that its tag names; None also for one that is being deleted."""
        found = self.description()
        if found is None or found["TableStatus"] == "DELETING":
            return None
        with aws_errors(f"DynamoDB table {self.name}"):
            return owner_in(where_there_are_tags(lambda: self._tags(found["TableArn"]), {}))

    def _tags(self, arn: str) -> dict[str, str]:
        pages = self._clients.dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    def claim(self, grid: str) -> None:
        """Tag it as a grid's."""
        found = self.description()
        if found is None:
            return
        tags: Any = [{"Key": TAG, "Value": grid}]
        with aws_errors(f"DynamoDB table {self.name}"):
            tag = self._clients.dynamodb.tag_resource
            where_there_are_tags(lambda: tag(ResourceArn=found["TableArn"], Tags=tags), None)

    def named_in(self, parameter: str) -> bool:
        """Whether a grid's parameter names it."""
        return re.search(rf'"table"\s*:\s*"{re.escape(self.name)}"', parameter) is not None

    def make(self, grid: str) -> None:
        """Make it unless it is there; one that is being deleted is waited for first."""
        wait, asked = self._patience.begin(), False
        while (status := (self.description() or {}).get("TableStatus")) not in USABLE:
            if status is None and not asked:
                self._create(grid)
                asked = True
            else:
                asked = asked and status != "DELETING"
                wait.longer(f"{self.label} is {status or 'CREATING'}")
        for index in self._missing_indexes():  # of a table that an earlier version made; one at a time
            self._add(index)
        if self.expiry().get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
            with aws_errors(f"DynamoDB table {self.name}"):
                self._clients.dynamodb.update_time_to_live(**schema.time_to_live(self.name))

    def _missing_indexes(self) -> list[Any]:
        wanted: Any = schema.create_table(self.name)["GlobalSecondaryIndexes"]
        found = (self.description() or {}).get("GlobalSecondaryIndexes", ())
        known = {index["IndexName"] for index in found}
        return [index for index in wanted if index["IndexName"] not in known]

    def _add(self, index: Any) -> None:
        """Add an index and wait until it can be read; the table is used meanwhile."""
        name, wait = index["IndexName"], self._patience.begin()
        keys = {key["AttributeName"] for key in index["KeySchema"]}
        defined = schema.create_table(self.name)["AttributeDefinitions"]
        request: Any = {
            "TableName": self.name,
            "AttributeDefinitions": [each for each in defined if each["AttributeName"] in keys],
            "GlobalSecondaryIndexUpdates": [{"Create": index}],
        }
        asked = False
        while True:
            indexes = (self.description() or {}).get("GlobalSecondaryIndexes", ())
            found = next((one for one in indexes if one["IndexName"] == name), None)
            if found is not None and found.get("IndexStatus", "ACTIVE") in USABLE:
                return
            if found is None and not asked:
                asked = self._ask(request)
            wait.longer(f"index {name} of {self.label} is CREATING")

    def _ask(self, request: Any) -> bool:
        """Ask for a change of the table; False if another one is under way."""
        with aws_errors(f"DynamoDB table {self.name}"):
            try:
                self._clients.dynamodb.update_table(**request)
            except ClientError as error:
                if code_of(error) not in ("ResourceInUseException", "LimitExceededException"):
                    raise
                return False
        return True

    def _create(self, grid: str) -> None:
        request: Any = {**schema.create_table(self.name), "Tags": [{"Key": TAG, "Value": grid}]}
        with aws_errors(f"DynamoDB table {self.name}"):
            try:
                self._clients.dynamodb.create_table(**request)
            except ClientError as error:
                if code_of(error) != "ResourceInUseException":  # somebody else makes it, too
                    raise

    def remove(self) -> None:
        """Remove it, if it is there; one that is still being made is waited for first."""
        wait = self._patience.begin()
        while True:
            with aws_errors(f"DynamoDB table {self.name}"):
                try:
                    self._clients.dynamodb.delete_table(TableName=self.name)
                except ClientError as error:
                    if is_missing(error):
                        return
                    if code_of(error) != "ResourceInUseException":
                        raise
                else:
                    return
            if (self.description() or {"TableStatus": "DELETING"})["TableStatus"] == "DELETING":
                return
            wait.longer(f"{self.label} is still being made or changed")
