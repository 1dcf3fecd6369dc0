"""A value-at-risk backtest with the decorator: the function forecasts one day, the step all of them.

``over="day"`` makes each item of that argument a task of one session; the other arguments are stored once and shared.

Its modules are in the folder above, and need ``pip install ".[airflow,examples]"`` in the checkout: put that folder on
PYTHONPATH of Airflow's processes.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

WINDOW_DAYS = 1000
PARAMS = {"days": Param(250, type="integer", description="forecast only the last days of the history")}

with DAG("value_at_risk_backtest", schedule=None, params=PARAMS, tags=["htcgrid"], doc_md=__doc__):

    @task
    def history(params: dict[str, Any]) -> list[float]:
        """The daily log returns of the S&P 500, in percent, as far as they are needed."""
        import numpy as np
        from arch.data import sp500

        returns = 100.0 * np.diff(np.log(sp500.load()["Adj Close"].to_numpy(dtype=np.float64)))
        needed: list[float] = returns[-(params["days"] + WINDOW_DAYS) :].tolist()
        return needed

    @task
    def days(returns: list[float]) -> list[int]:
        """The days with a full window before them."""
        return list(range(WINDOW_DAYS, len(returns)))

    @task.htcgrid(over="day")
    def forecast(day: int, returns: list[float]) -> Any:
        """Forecast one day by six models, from the returns before it."""
        import value_at_risk

        return value_at_risk.forecast({"day": day, "window": WINDOW_DAYS, "returns": returns}, None)

    @task
    def judge(returns: list[float], forecasts: list[Any]) -> dict[str, int]:
        """Print the tests of Kupiec and Christoffersen; return each model's violations."""
        import numpy as np

        from value_at_risk_report import report, scores

        results = scores(np.asarray(returns), forecasts)
        report(results)
        return {score.model: score.violations for score in results}

    returns = history()  # type: ignore[call-arg,misc]  # Airflow passes params
    judge(returns, forecast(day=days(returns), returns=returns))  # type: ignore[arg-type]
