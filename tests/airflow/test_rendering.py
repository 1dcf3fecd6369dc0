"""What operators get of a DAG and give back: text, XComs of mapped tasks, names without folders, typed results."""

from __future__ import annotations

import pickle
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

from htcgrid_airflow.callables import Held, called_within, held_within
from htcgrid_airflow.collect import collect
from htcgrid_airflow.decorators import HTCGridDecoratedOperator
from htcgrid_airflow.operators import HTCGridCancelOperator, HTCGridResultsOperator, HTCGridSubmitOperator
from htcgrid_airflow.sensors import HTCGridSessionSensor
from htcgrid_core import Grid, InvalidInput
from tests.airflow.handlers import triple
from tests.airflow.steps import Step

# Text


@pytest.mark.parametrize("native", [True, False])
def test_text_stays_text(native: bool) -> None:
    """The templates are those of an ordinary DAG; natively, most of them look like numbers."""
    context: Any = {"day": "20261129", "version": "1.10", "n": 5, "at": datetime(2026, 11, 29), "no": None}
    labels: Any = {"version": "{{ version }}", "n": "{{ n }}", "at": "{{ at }}", "given": 7}
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        submit = HTCGridSubmitOperator(
            task_id="fan_out",
            function="{{ 'module.handler' }}",
            tasks="{{ [1, 2] }}",
            token="{{ day }}",
            session_name="{{ version }}",
            tenant="{{ n }}",
            grid_pool="{{ n }}",
            labels=labels,
            result="{{ day }}",
        )
        cancel = HTCGridCancelOperator(task_id="end", session="{{ {'session_id': 's-1234'} }}", reason="{{ day }}")
        results = HTCGridResultsOperator(task_id="collect", session="s-1234", result="{{ day }}", grid="{{ n }}")
        sensor = HTCGridSessionSensor(task_id="wait", session="s-1234", htcgrid_conn_id="{{ n }}")
    for operator in (submit, cancel, results, sensor):
        operator.render_template_fields(context)
    assert (submit.function, submit.token, submit.session_name) == ("module.handler", "20261129", "1.10")
    assert (submit.tenant, submit.grid_pool, submit.result) == ("5", "5", "20261129")
    assert submit.labels == {"version": "1.10", "n": "5", "at": "2026-11-29 00:00:00", "given": "7"}
    assert (cancel.reason, results.result, results.grid, sensor.htcgrid_conn_id) == ("20261129", "20261129", "5", "5")
    assert submit.tasks == ([1, 2] if native else "[1, 2]"), "what may be a value is one"
    assert cancel.session == ({"session_id": "s-1234"} if native else "{'session_id': 's-1234'}")


def test_nothing_stays_nothing_in_native_dags() -> None:
    with DAG("dag", schedule=None, render_template_as_native_obj=True):
        submit = HTCGridSubmitOperator(task_id="fan_out", function=triple, tasks=[], tenant="{{ no }}")
    context: Any = {"no": None}
    submit.render_template_fields(context)
    assert submit.tenant is None
    assert isinstance(submit.function, Held)


# XComs of mapped tasks


class Mapped(LazyXComSequence[Any]):
    """What a mapped task returned, as Airflow hands it over: no worker can load it."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: Any) -> Any:
        return list(self.values)[key]

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("it belongs to its task")


Mapped.__module__ = LazyXComSequence.__module__


def decorated(url: str, function: Any, over: str, *args: Any, **kwargs: Any) -> HTCGridDecoratedOperator:
    return HTCGridDecoratedOperator(
        task_id="price", grid=url, python_callable=function, over=over, op_args=args, op_kwargs=kwargs
    )


def test_xcoms_of_mapped_tasks_are_events(grid_url: str) -> None:
    def total(event: Any) -> Any:
        return sum(event["legs"])

    tasks = [{"legs": Mapped(1, 2)}, {"legs": [Mapped(3, 4)[0], 5]}]
    inline: dict[str, Any] = {"grid": grid_url, "result": "inline"}
    submit = HTCGridSubmitOperator(task_id="fan_out", function=total, tasks=tasks, **inline)
    assert submit.execute(Step().context()) == [3, 8]
    whole = HTCGridSubmitOperator(task_id="fan_out", function=triple, tasks=Mapped(1, 2, 3), **inline)
    assert whole.execute(Step().context()) == [3, 6, 9]
    made = HTCGridSubmitOperator(
        task_id="fan_out", function=triple, tasks=lambda many: many, tasks_kwargs={"many": Mapped(4)}, **inline
    )
    assert made.execute(Step().context()) == [12]


def test_xcoms_of_mapped_tasks_are_arguments(grid_url: str) -> None:
    given: dict[str, Any] = {"n": Mapped(1, 2), "more": Mapped(10, 20), "deep": {"a": Mapped(100)}}
    operator = decorated(grid_url, lambda n, more, deep: n + sum(more) + sum(deep["a"]), "n", **given)
    assert operator.execute(Step().context()) == [131, 132]


# Where a DAG lies


def dag_function(folder_hash: str) -> Any:
    """A function of a DAG file, as Airflow imports it from a folder."""
    name = f"unusual_prefix_{folder_hash}_book"
    module = sys.modules.setdefault(name, ModuleType(name))
    exec("def scale(n): return 2 * n", module.__dict__)
    return module.__dict__["scale"]


def test_a_serialized_dag_does_not_name_its_folder() -> None:
    from airflow.serialization.helpers import serialize_template_field

    found = []
    for letter in "ab":
        function = dag_function(letter * 40)
        submit = HTCGridSubmitOperator(task_id="fan_out", function=function, tasks=function)
        step = decorated("local://", lambda n, f, g: (n, f, g), "n", [1], function, g={"deep": [function]})
        fields: list[Any] = [submit.function, submit.tasks, step.op_args, step.op_kwargs]
        found.append([serialize_template_field(field, "field") for field in fields])
    assert found[0] == found[1] == ["book.scale", "book.scale", [[1], "book.scale"], {"g": {"deep": ["book.scale"]}}]


def test_what_a_dag_file_defines_is_sent_along(grid_url: str) -> None:
    """Functions, classes and their objects: as what all calls share, inside of that, and as items."""
    name = "unusual_prefix_" + "c" * 40 + "_book"
    module = sys.modules.setdefault(name, ModuleType(name))
    source = """
from dataclasses import dataclass

@dataclass
class Trade:
    n: int

def scale(n): return 2 * n
def price(trade, f, more, desk): return f(trade.n) + more["deep"][0](trade.n) + desk.n
def lone(trade): return trade.n
"""
    exec(source, module.__dict__)
    scale, trade = module.__dict__["scale"], module.__dict__["Trade"]
    trades = [trade(1), trade(2)]
    more = {"deep": [scale]}
    step = decorated(grid_url, module.__dict__["price"], "trade", trades, f=scale, more=more, desk=trade(100))
    assert step.execute(Step().context()) == [104, 108]
    abroad = decorated(grid_url, lambda n, f: f(n), "n", [1, 2], scale)
    assert abroad.execute(Step().context()) == [2, 4]
    submit = HTCGridSubmitOperator(
        task_id="t", grid=grid_url, function=module.__dict__["lone"], tasks=trades, result="inline"
    )
    assert submit.execute(Step().context()) == [1, 2]


def test_callables_inside_of_arguments_arrive(grid_url: str) -> None:
    step = decorated(grid_url, lambda n, f, g: f(n) + g["deep"][0](n), "n", [-1, 2], abs, g={"deep": [abs]})
    assert step.execute(Step().context()) == [2, 4]


def test_what_holds_no_callable_is_the_same_object() -> None:
    value = {"a": [1, (2, 3)]}
    assert held_within(value) is value
    assert called_within(held_within([len]))[0] is len


# Typed results


def typed(number: int) -> Any:
    """A result with what JSON lacks."""
    day = date(2026, 1, 2) + timedelta(days=number)
    at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    return {"at": at, "day": day, "price": Decimal("1.10"), "took": timedelta(seconds=1.5), "none": None}


def test_typed_results_go_inline_as_airflows_own(grid_url: str, grid: Grid) -> None:
    operator = HTCGridSubmitOperator(task_id="t", grid=grid_url, function=typed, tasks=[0, 1], result="inline")
    assert operator.execute(Step().context()) == [typed(0), typed(1)]
    session = grid.submit(lambda _: Decimal("0.1234567890123456789"), [1])
    with pytest.raises(InvalidInput, match=r"task 0 has the decimal 0\.1234567890123456789"):
        collect(session, "inline", {})


def test_typed_results_have_columns_of_their_types(grid_url: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "typed.parquet")
    operator = HTCGridSubmitOperator(task_id="t", grid=grid_url, function=typed, tasks=[0, 1], result=path)
    assert operator.execute(Step().context())["results"] == path
    table = parquet.read_table(path)
    assert [{key: row[key] for key in typed(0)} for row in table.to_pylist()] == [typed(0), typed(1)]
    assert str(table.schema.field("price").type) == "decimal128(3, 2)"
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"


def test_typed_results_are_texts_in_lines(grid_url: str, tmp_path: Path) -> None:
    path = tmp_path / "typed.jsonl"
    HTCGridSubmitOperator(task_id="t", grid=grid_url, function=typed, tasks=[0], result=str(path)).execute(
        Step().context()
    )
    assert path.read_text() == (
        '{"at": "2026-01-02T03:04:05.000678+00:00", "day": "2026-01-02", "price": "1.10", "took": "PT1.500000S", '
        '"none": null}\n'
    )
