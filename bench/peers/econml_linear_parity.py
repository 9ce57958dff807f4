"""EconML's LinearDML, LinearDRLearner and LinearIntentToTreatDRIV with given folds and deterministic nuisances.

Usage: python econml_linear_parity.py tests/golden/econml
Writes input.csv (made here, seeded) and linear.json. Needs econml 0.17, scikit-learn, numpy, pandas.
Nuisances are ordinary least squares and unpenalised logistic regression; outcomes are learned in each arm apart
where the learner knows arms.
"""

import hashlib
import json
import sys
import warnings
from pathlib import Path

import econml
import numpy as np
import pandas as pd
from econml.dml import LinearDML
from econml.dr import LinearDRLearner
from econml.iv.dr import LinearIntentToTreatDRIV
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.pipeline import make_pipeline

warnings.filterwarnings("ignore")
X, W, N, K = ["x1", "x2"], ["w1", "w2"], 600, 4


def make():
    rng = np.random.default_rng(20240607)
    x = rng.normal(size=(N, 2)) * [1.0, 3.0] + [0.5, -1.0]
    w = rng.normal(size=(N, 2))
    p = 1 / (1 + np.exp(-(0.4 * x[:, 0] - 0.5 * w[:, 0])))
    t = (rng.uniform(size=N) < p).astype(int)
    q = np.exp(np.c_[np.zeros(N), 0.3 * x[:, 0], 0.4 * w[:, 1]])
    arm = (rng.uniform(size=(N, 1)) > np.cumsum(q / q.sum(1, keepdims=True), 1)).sum(1)
    y = x @ [1.0, 0.2] + w @ [0.7, -0.4] + t * (1 + 0.5 * x[:, 0] - 0.2 * x[:, 1]) + rng.normal(size=N)
    y3 = x @ [1.0, 0.2] + w @ [0.7, -0.4] + (arm == 1) * (1 + x[:, 0]) - (arm == 2) * 0.5 * x[:, 1] + rng.normal(size=N)
    z = (rng.uniform(size=N) < 0.5).astype(int)
    complies = rng.uniform(size=N) < 1 / (1 + np.exp(-(0.8 + 0.3 * x[:, 0])))
    taken = z * complies
    yz = x @ [1.0, 0.2] + w @ [0.7, -0.4] + taken * (1 + 0.5 * x[:, 0]) + complies + rng.normal(size=N)
    frame = pd.DataFrame(np.c_[x, w], columns=X + W)
    frame["t"], frame["arm"], frame["y"], frame["y3"] = t, arm, y, y3
    frame["z"], frame["taken"], frame["yz"] = z, taken, yz
    frame["weight"] = rng.uniform(0.5, 2.0, size=N)
    frame["fold"] = np.arange(N) % K
    return frame


class PerArm(BaseEstimator, RegressorMixin):
    """Least squares in each arm apart, the control included; the last columns are one-hot arms without the control."""

    def __init__(self, n_arms=2):
        self.n_arms = n_arms

    def fit(self, features, y, sample_weight=None):
        z, arm = self._split(features)
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        self.models_ = [
            LinearRegression().fit(z[arm == a], y[arm == a], sample_weight=weight[arm == a]) for a in range(self.n_arms)
        ]
        return self

    def predict(self, features):
        z, arm = self._split(features)
        out = np.zeros(len(z))
        for a, model in enumerate(self.models_):
            if (arm == a).any():
                out[arm == a] = model.predict(z[arm == a])
        return out

    def _split(self, features):
        z, hot = features[:, : -(self.n_arms - 1)], features[:, -(self.n_arms - 1) :]
        return z, (hot * np.arange(1, self.n_arms)).sum(1).round().astype(int)


class PerGroupProbability(BaseEstimator):
    """P(taken | X, W, Z) from a logistic regression in each group of Z apart; Z is the last column.
    A group where nobody (or everybody) takes the treatment has that probability."""

    def fit(self, features, y, sample_weight=None):
        self.classes_ = np.array([0, 1])
        self.models_ = {}
        for group in (0, 1):
            rows = features[:, -1] == group
            target = y[rows]
            same = len(np.unique(target)) == 1
            self.models_[group] = float(target[0]) if same else logistic().fit(features[rows, :-1], target)
        return self

    def predict_proba(self, features):
        p = np.zeros(len(features))
        for group, model in self.models_.items():
            rows = features[:, -1] == group
            if rows.any():
                p[rows] = model if isinstance(model, float) else model.predict_proba(features[rows, :-1])[:, 1]
        return np.c_[1 - p, p]


def logistic():
    return make_pipeline(
        StandardScaler(), LogisticRegression(penalty=None, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    )


def table(model, arms):
    out = {}
    for arm in arms:
        pick = {} if arm is None else {"T": arm}
        coef = model.coef__inference(**pick)
        constant = model.intercept__inference(**pick)
        out[str(arm or 1)] = {
            "coef": np.ravel(coef.point_estimate).tolist(),
            "se": np.ravel(coef.stderr).tolist(),
            "intercept": float(np.ravel(constant.point_estimate)[0]),
            "intercept_se": float(np.ravel(constant.stderr)[0]),
        }
    return out


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frame = make()
    frame.to_csv(folder / "input.csv", index=False)
    frame = pd.read_csv(folder / "input.csv")
    fold = frame["fold"].values
    folds = [(np.where(fold != k)[0], np.where(fold == k)[0]) for k in range(K)]
    x, w = frame[X].values, frame[W].values
    answers = {}

    def intervals(model):
        lower, upper = model.effect_interval(x[:5], alpha=0.05)
        return {"effect": np.ravel(model.effect(x[:5])).tolist(), "lower": np.ravel(lower).tolist(), "upper": np.ravel(upper).tolist()}

    for name, weight in [("linear_dml", None), ("linear_dml weighted", frame["weight"].values)]:
        model = LinearDML(
            model_y=LinearRegression(), model_t=logistic() if weight is None else Weighted(), discrete_treatment=True, cv=folds
        )
        model.fit(frame["y"].values, frame["t"].values, X=x, W=w, sample_weight=weight)
        answers[name] = {"arms": table(model, [None]), "rows": intervals(model)}
    for name, y, t, n_arms in [("linear_dr", "y", "t", 2), ("linear_dr three arms", "y3", "arm", 3)]:
        model = LinearDRLearner(
            model_propensity=logistic() if n_arms == 2 else OneVersusRest(n_arms),
            model_regression=PerArm(n_arms),
            min_propensity=1e-6,
            cv=folds,
        )
        model.fit(frame[y].values, frame[t].values, X=x, W=w)
        answers[name] = {"arms": table(model, range(1, n_arms))}
        if n_arms == 2:
            answers[name]["rows"] = intervals(model)
    answers["driv"] = driv(frame, x, w, folds, "driv")
    result = {
        "peer": f"EconML {econml.__version__}",
        "command": "python bench/peers/econml_linear_parity.py tests/golden/econml",
        "input_sha256": hashlib.sha256((folder / "input.csv").read_bytes()).hexdigest(),
        "folds": "column fold",
        "answers": answers,
    }
    (folder / "linear.json").write_text(json.dumps(result, indent=1) + "\n")


class Weighted(BaseEstimator):
    """The logistic regression with weights passed on through the scaling."""

    def fit(self, features, y, sample_weight=None):
        self.model_ = logistic().fit(features, y, logisticregression__sample_weight=sample_weight)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, features):
        return self.model_.predict_proba(features)


class OneVersusRest(BaseEstimator):
    """A logistic regression of each arm against the rest, scaled to sum to one."""

    def __init__(self, n_arms=3):
        self.n_arms = n_arms

    def fit(self, features, y, sample_weight=None):
        self.classes_ = np.arange(self.n_arms)
        self.models_ = [logistic().fit(features, (y == a).astype(int)) for a in range(self.n_arms)]
        return self

    def predict_proba(self, features):
        p = np.column_stack([model.predict_proba(features)[:, 1] for model in self.models_])
        return p / p.sum(1, keepdims=True)


def driv(frame, x, w, folds, approach):
    model = LinearIntentToTreatDRIV(
        model_y_xw=LinearRegression(),
        model_t_xwz=PerGroupProbability(),
        flexible_model_effect=LinearRegression(),
        prel_cate_approach=approach,
        prel_cv=1,
        cov_clip=0.1,
        z_propensity=0.5,
        cv=folds,
    )
    model.fit(frame["yz"].values, frame["taken"].values, Z=frame["z"].values, X=x, W=w)
    return {"arms": table(model, [None])}


if __name__ == "__main__":
    main(sys.argv[1])
