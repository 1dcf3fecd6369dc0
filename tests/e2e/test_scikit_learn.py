"""scikit-learn on the grid, through joblib: the same models as without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import htcgrid_core.joblib_backend  # noqa: F401 - registers the backend
from htcgrid_core import connect


def fitted(make: Callable[[], Any], **config: Any) -> Any:
    """What an estimator becomes under a configuration of joblib."""
    inputs, labels = make_classification(n_samples=400, n_features=12, random_state=7)
    with parallel_config(**config):
        return make().fit(inputs, labels), inputs


def test_a_grid_search_is_the_same(url: str) -> None:
    def search() -> GridSearchCV:
        return GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3)

    here, _ = fitted(search, backend="sequential")
    there, _ = fitted(search, backend="htcgrid", url=url, name="search")
    assert there.best_params_ == here.best_params_
    np.testing.assert_array_equal(there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"])
    with connect(url) as grid:
        assert sum(s.progress().completed for s in grid.sessions() if s.name == "search") == 12


def test_a_random_forest_is_the_same(url: str) -> None:
    """It prefers threads and asks for shared memory at predict, which joblib then gives it."""

    def forest() -> RandomForestClassifier:
        return RandomForestClassifier(20, random_state=7)

    here, inputs = fitted(forest, backend="sequential")
    there, _ = fitted(forest, backend="htcgrid", url=url)
    np.testing.assert_array_equal(there.predict_proba(inputs), here.predict_proba(inputs))
