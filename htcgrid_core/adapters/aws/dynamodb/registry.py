"""What operators register beside destinations, as items of the grid's table: places and rules."""

from __future__ import annotations

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.schema import Key
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import Write
from htcgrid_core.domain.place import Place
from htcgrid_core.domain.rule import Rule

_PLACES, _RULES = "PLACES", "RULES"
_FIRST, _LAST = " ", "~"  # around each name


class DynamoRegistry:
    """Places by tenant, use and prefix; rules by name."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def places(self) -> list[Place]:
        """All of them, by tenant."""
        return [Place.stored(item["body"]) for item in self._table.query(_PLACES, _FIRST, _LAST)]

    def put_place(self, place: Place) -> None:
        """List a place."""
        self._put((_PLACES, _name(place)), place.model_dump_json())

    def remove_place(self, place: Place) -> bool:
        """Forget a place; False if it is not listed."""
        return self._remove((_PLACES, _name(place)))

    def rules(self) -> list[Rule]:
        """All of them, by name."""
        return [Rule.stored(item["body"]) for item in self._table.query(_RULES, _FIRST, _LAST)]

    def put_rule(self, rule: Rule) -> None:
        """Register a rule, in the place of one with the same name."""
        self._put((_RULES, rule.rule), rule.model_dump_json())

    def remove_rule(self, name: str) -> bool:
        """Forget a rule; False if there is none."""
        return self._remove((_RULES, name))

    def _put(self, key: Key, body: str) -> None:
        item: Item = {"body": body}
        self._table.write(Write(key, "", item=item))

    def _remove(self, key: Key) -> bool:
        if self._table.get(key) is None:
            return False
        self._table.delete(key)
        return True


def _name(place: Place) -> str:
    return f"{place.tenant} {place.use} {place.prefix}"
