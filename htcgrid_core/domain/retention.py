"""How long sessions are kept after their ends: what a tenant gets that does not say, and what it may say at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.session import TENANT, SessionSpec

VARIABLE = "HTCGRID_RETENTION"  # the environment's: where the file is
EVERYBODY = "*"
DAY_SECONDS = 86400.0
LONGEST_DAYS = limits.LONGEST_RETENTION_SECONDS / DAY_SECONDS

Days = Annotated[float, Field(gt=0, le=LONGEST_DAYS, allow_inf_nan=False)]


class TenantRetention(BaseModel):
    """What is said for one tenant, or for all that are not named.

    Attributes:
        default_days: of its sessions that do not say; None for everybody's, or 7, or the maximum if that is less.
        max_days: that its sessions may say; None for everybody's, or 60.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    default_days: Days | None = None
    max_days: Days | None = None


_FORM = TypeAdapter(dict[str, TenantRetention])


@dataclass(frozen=True, slots=True)
class Retention:
    """What an operator permits.

    Attributes:
        tenants: by their names; ``*`` is of those that are not named.
    """

    tenants: Mapping[str, TenantRetention] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """From JSON: ``{"*": {"default_days": 7, "max_days": 60}, "rates": {"max_days": 3650}}``.

        Raises:
            InvalidInput: it is something else, a name is no tenant's, or a default is above its maximum.
        """
        try:
            found = cls(_FORM.validate_json(text))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise InvalidInput(f"it does not say how long tenants' sessions are kept: {wrong}") from None
        for tenant in found.tenants:
            if tenant != EVERYBODY and not TENANT.fullmatch(tenant):
                raise InvalidInput(
                    f"{tenant!r} can be no tenant's name: {TENANT.pattern}, or {EVERYBODY} for all others"
                )
            default, most = found.days_of(tenant)
            if default > most:
                raise InvalidInput(f"tenant {tenant}: the default of {default:g} days is above the {most:g} permitted")
        return found

    def days_of(self, tenant: str) -> tuple[float, float]:
        """The default and the maximum of a tenant."""
        common = self.tenants.get(EVERYBODY, _NO_RULE)
        own = self.tenants.get(tenant, _NO_RULE)
        most = own.max_days or common.max_days or limits.MAX_RETENTION_SECONDS / DAY_SECONDS
        usual = common.default_days or limits.RETENTION_SECONDS / DAY_SECONDS
        default = own.default_days or min(usual, most)
        return default, most

    def applied(self, spec: SessionSpec) -> SessionSpec:
        """A spec that says how long its session is kept: as it asks for, or its tenant's default.

        Raises:
            InvalidInput: it asks for longer than its tenant may.
        """
        if not self.tenants and spec.retention_seconds <= limits.MAX_RETENTION_SECONDS:
            return spec
        default, most = self.days_of(spec.tenant)
        if "retention_seconds" not in spec.model_fields_set:
            seconds = default * DAY_SECONDS
            return spec if seconds == spec.retention_seconds else spec.model_copy(update={"retention_seconds": seconds})
        if spec.retention_seconds > most * DAY_SECONDS:
            days = spec.retention_seconds / DAY_SECONDS
            raise InvalidInput(
                f"a retention of {days:.6g} days was asked for, and tenant {spec.tenant} keeps sessions for {most:g} "
                "days at most: ask for less, or its operator to permit it"
            )
        return spec


_NO_RULE = TenantRetention()
STANDARD = Retention()
