"""Templated fields that are text, also in DAGs that render templates as Python values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from htcgrid_airflow.callables import Held

if TYPE_CHECKING:
    from airflow.sdk import Context


class TextFields:
    """A part of operators: what ``text_fields`` names is text once it is rendered, or None, or maps names to text.

    With ``render_template_as_native_obj``, Airflow makes the number 20261129 of the token ``{{ ds_nodash }}``, and of
    the version ``1.10`` the number 1.1. Such a template is rendered again, as text.
    """

    text_fields: frozenset[str] = frozenset()

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        names = [name for name in template_fields if name in self.text_fields] if parent is self else []
        before = {name: getattr(self, name) for name in names}
        render: Any = super()
        render._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        for name, given in before.items():
            setattr(self, name, self._as_text(given, getattr(self, name), context))

    def _as_text(self, given: Any, rendered: Any, context: Context) -> Any:
        if isinstance(rendered, Mapping):
            parts = given if isinstance(given, Mapping) else {}
            return {str(name): self._as_text(parts.get(name), one, context) for name, one in rendered.items()}
        if rendered is None or isinstance(rendered, str | Held):
            return rendered
        return self._text_of(given, context) if isinstance(given, str) else str(rendered)

    def _text_of(self, template: str, context: Context) -> str:
        operator: Any = self
        dag = operator.get_dag()
        environment = operator.get_template_env() if dag is None else dag.get_template_env(force_sandboxed=True)
        return str(environment.from_string(template).render(context))
