"""The block that names a grid, and how sessions are submitted to it."""

from typing import Any, ClassVar, Literal

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr

from htcgrid_core import Grid, RetryPolicy, connect
from htcgrid_prefect.flow.settings import HTCGridSettings

try:
    from prefect_aws import AwsCredentials
except ImportError:  # a grid that needs no credentials of a block needs no prefect-aws
    HAS_PREFECT_AWS = False
else:
    HAS_PREFECT_AWS = True

# Blocks have addresses on the web; this project promises none, so they are Prefect's own picture and page.
LOGO = (
    "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9"
    "/assets/block-logos/process.png"
)
DOCUMENTATION = "https://www.prefect.io/docs/latest/develop/blocks"


def _default(name: str) -> Any:
    return Field(
        default_factory=lambda: getattr(HTCGridSettings(), name),
        description=HTCGridSettings.model_fields[name].description,
    )


class HTCGrid(Block):
    """A grid that runs one step of a flow as up to millions of short tasks.

    Example:
        Load a stored block and run a session on its grid:
        ```python
        from prefect import flow
        from htcgrid_prefect import HTCGrid, run_session

        @flow
        def value_the_book(trades: list[dict]) -> float:
            grid = HTCGrid.load("BLOCK_NAME")
            return sum(run_session("pricing.handler", trades, grid=grid))
        ```
    """

    # In pickles: the public name, wherever its file is. Annotations are no strings here: pydantic would look for their
    # names there.
    __module__ = "htcgrid_prefect"

    _block_type_name: ClassVar[str] = "HTC-Grid"
    _block_type_slug: ClassVar[str] = "htcgrid"
    _logo_url: ClassVar[HttpUrl | None] = HttpUrl(LOGO)
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl(DOCUMENTATION)

    url: str | None = _default("url")
    pool: str = _default("pool")
    priority: Literal["high", "normal", "low"] = _default("priority")
    tenant: str = _default("tenant")
    task_timeout: float | None = Field(
        default=None, gt=0, description="Seconds that one attempt of a task may take. None for no limit."
    )
    timeout: float | None = Field(default=None, gt=0, description="Seconds that a session may take. None for no limit.")
    max_attempts: int = Field(default=3, ge=1, description="How often a task runs at most, the first time included.")
    on_out_of_memory: str | None = Field(
        default=None, description="Pool of larger slots, where a task goes on, once, whose worker ran out of memory."
    )
    max_failures: int | float | None = Field(
        default=None, description="Failed tasks that a session tolerates, as a count or a share of it. None for none."
    )
    memory_mb: int | None = Field(default=None, description="Memory that a worker may use, in MiB. None for no limit.")
    isolation: Literal["session", "task"] | None = Field(
        default=None,
        description="New workers for each session, or for each task. None for workers that sessions share.",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of every session, for finding it again.")
    api_token: SecretStr | None = Field(
        default=None, description="By which an https:// grid knows who asks. None for HTCGRID_API_TOKEN."
    )
    allow_pickle: bool = _default("allow_pickle")
    if HAS_PREFECT_AWS:
        credentials: AwsCredentials | None = Field(
            default=None, description="Whose credentials an aws:// grid is used with. None for those of its URL."
        )

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take what was pickled, maybe by a release that had fewer fields: those are as they are by default."""
        super().__setstate__(state)
        for name in type(self).model_fields.keys() - self.__dict__.keys():
            self.__dict__[name] = type(self).model_fields[name].get_default(call_default_factory=True)

    def get_client(self) -> Grid:
        """A connection to the grid; a context manager.

        Raises:
            UnknownGrid: nobody knows such a URL.
            AccessDenied: it does not know who asks.
            GridUnavailable: it cannot be reached.
        """
        token = None if self.api_token is None else self.api_token.get_secret_value()
        session = self._aws_session()
        return connect(self.url, aws_session=session, api_token=token, allow_pickle=self.allow_pickle)

    def _aws_session(self) -> Any:
        credentials = getattr(self, "credentials", None)
        return None if credentials is None else credentials.get_boto3_session()

    def options(self) -> dict[str, Any]:
        """Arguments for ``grid.submit``."""
        return {
            "pool": self.pool,
            "priority": self.priority,
            "tenant": self.tenant,
            "task_timeout": self.task_timeout,
            "timeout": self.timeout,
            "retry": RetryPolicy(max_attempts=self.max_attempts, on_out_of_memory=self.on_out_of_memory),
            "max_failures": self.max_failures,
            "memory_mb": self.memory_mb,
            "isolation": self.isolation,
            "labels": dict(self.labels),
        }
