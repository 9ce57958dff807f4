"""Effects of EconML's learners with deterministic linear models and given folds; one JSON file.

    python bench/peers/econml_parity.py > tests/golden/econml/learners.json

The rows are made here and stand in the file, so that both sides see the same numbers. Every
nuisance and final model is least squares or an unpenalised logistic regression: what is left to
compare is the learner itself. EconML's X-learner does not cross-fit, so it sees no folds.
"""

import hashlib
import json
import sys
from importlib.metadata import version

import numpy as np
from econml.dml import NonParamDML
from econml.dr import DRLearner
from econml.metalearners import XLearner
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression

N, FOLDS = 300, 3


class ByArm(BaseEstimator):
    """One least-squares line per arm; the arm is the last column."""

    def fit(self, x, y):
        y = np.ravel(y)
        self.lines_ = [LinearRegression().fit(x[x[:, -1] == arm, :-1], y[x[:, -1] == arm]) for arm in (0, 1)]
        return self

    def predict(self, x):
        return np.where(x[:, -1] == 1, self.lines_[1].predict(x[:, :-1]), self.lines_[0].predict(x[:, :-1]))


def logistic():
    return LogisticRegression(C=np.inf, tol=1e-14, max_iter=10_000, solver="newton-cholesky")


def rows():
    draw = np.random.default_rng(20_240_601)
    x = draw.normal(size=(N, 3)).round(6)
    t = (draw.uniform(size=N) < 1 / (1 + np.exp(-0.5 * x[:, 0]))).astype(int)
    y = x[:, 1] + t * (1 + 0.5 * x[:, 0] - x[:, 2]) + np.sin(2 * x[:, 2]) + draw.normal(size=N)
    return x, t, y.round(6), np.arange(N) % FOLDS


def main():
    x, t, y, fold = rows()
    splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(FOLDS)]
    learners = {
        "dr": DRLearner(
            model_propensity=logistic(), model_regression=ByArm(), model_final=LinearRegression(),
            min_propensity=1e-12, cv=splits,
        ),
        "nonparam_dml": NonParamDML(
            model_y=LinearRegression(), model_t=logistic(), model_final=LinearRegression(),
            discrete_treatment=True, cv=splits,
        ),
        "x": XLearner(models=LinearRegression(), cate_models=LinearRegression(), propensity_model=logistic()),
    }
    effects = {name: np.ravel(learner.fit(y, t, X=x).effect(x)).tolist() for name, learner in learners.items()}
    columns = {"x1": x[:, 0], "x2": x[:, 1], "x3": x[:, 2], "t": t, "y": y, "fold": fold}
    columns = {name: values.tolist() for name, values in columns.items()}
    json.dump(
        {
            "peer": f"econml {version('econml')}, scikit-learn {version('scikit-learn')}",
            "command": "python bench/peers/econml_parity.py",
            "input_sha256": hashlib.sha256(json.dumps(columns).encode()).hexdigest(),
            "columns": columns,
            "effects": effects,
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
