"""Predictions of Python's LightGBM and XGBoost with settings spelled out, for the back-ends' parity tests.

Usage: python boosting_backends.py tests/golden/backends
Writes input.csv (made here, seeded; numbers with gaps, a 0/1 and a continuous outcome, weights) and
backends.json. Needs lightgbm 4.7, xgboost 3.2 and numpy. One thread, so that sums have one order.
"""

import hashlib
import json
import sys
from pathlib import Path

import lightgbm
import numpy as np
import xgboost

N, SEED = 800, 7
TREES = {"n_trees": 60, "learning_rate": 0.1, "n_leaves": 8, "min_leaf_rows": 20, "l2": 2.0}
SAMPLED = TREES | {"row_fraction": 0.8, "feature_fraction": 0.7}


def make(path):
    rng = np.random.default_rng(20261124)
    x = np.c_[rng.normal(size=N) * 3 - 1, rng.uniform(size=N), rng.integers(0, 6, size=N), rng.normal(size=N)]
    x[rng.uniform(size=N) < 0.15, 1] = np.nan
    x[rng.uniform(size=N) < 0.1, 2] = np.nan
    mean = np.sin(x[:, 0]) + np.nan_to_num(x[:, 1], nan=1.5) + 0.3 * np.nan_to_num(x[:, 2])
    y = mean + rng.normal(size=N)
    b = (rng.uniform(size=N) < 1 / (1 + np.exp(1.5 - mean))).astype(int)
    w = rng.uniform(0.5, 2.0, size=N)
    names = ["x1", "x2", "x3", "x4", "y", "b", "weight"]
    rows = np.c_[x, y, b, w]
    cell = lambda value: "" if np.isnan(value) else repr(float(value))
    path.write_text("\n".join([",".join(names)] + [",".join(map(cell, row)) for row in rows]) + "\n")


def read(path):
    lines = path.read_text().split("\n")[1:-1]
    table = np.array([[float(cell) if cell else np.nan for cell in line.split(",")] for line in lines])
    return table[:, :4], table[:, 4], table[:, 5], table[:, 6]


def with_lightgbm(x, y, w, objective, s):
    sampled = s.get("row_fraction", 1.0)
    parameters = {
        "objective": {"squared": "regression", "logistic": "binary"}[objective],
        "learning_rate": s["learning_rate"], "num_leaves": s["n_leaves"], "min_data_in_leaf": s["min_leaf_rows"],
        "lambda_l2": s["l2"], "bagging_fraction": sampled, "bagging_freq": int(sampled < 1),
        "feature_fraction": s.get("feature_fraction", 1.0), "seed": SEED, "deterministic": True,
        "force_row_wise": True, "num_threads": 1, "verbosity": -1,
    }
    data = lightgbm.Dataset(x, y, weight=w)
    return lightgbm.train(parameters, data, s["n_trees"]).predict(x, num_threads=1)


def with_xgboost(x, y, w, objective, s):
    weight = np.ones(len(y)) if w is None else w
    mean = float((weight * y).sum() / weight.sum())
    per_row = {"squared": 1.0, "logistic": mean * (1 - mean)}[objective]
    parameters = {
        "objective": {"squared": "reg:squarederror", "logistic": "binary:logistic"}[objective],
        "base_score": float(np.float32(mean)), "tree_method": "hist", "grow_policy": "lossguide", "max_bin": 256,
        "max_leaves": s["n_leaves"], "max_depth": 0, "eta": s["learning_rate"], "lambda": s["l2"],
        "min_child_weight": s["min_leaf_rows"] * per_row, "subsample": s.get("row_fraction", 1.0),
        "colsample_bytree": s.get("feature_fraction", 1.0), "seed": SEED, "nthread": 1, "verbosity": 0,
    }
    data = xgboost.DMatrix(x.astype(np.float32), y, weight=w)
    return xgboost.train(parameters, data, s["n_trees"]).predict(data)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    make(folder / "input.csv")
    x, y, b, w = read(folder / "input.csv")
    answers = []
    for library, fit in (("lightgbm", with_lightgbm), ("xgboost", with_xgboost)):
        for objective, target in (("squared", y), ("logistic", b)):
            for weighted in (False, True):
                for settings in (TREES, SAMPLED):
                    predictions = fit(x, target, w if weighted else None, objective, settings)
                    answers.append({
                        "library": library, "objective": objective, "weighted": weighted, "settings": settings,
                        # Every eighth row: enough to notice, short enough to keep.
                        "predictions": [float(value) for value in predictions[::8]],
                    })
    digest = hashlib.sha256((folder / "input.csv").read_bytes()).hexdigest()
    head = {
        "made_by": "python bench/peers/boosting_backends.py tests/golden/backends",
        "versions": {"lightgbm": lightgbm.__version__, "xgboost": xgboost.__version__, "numpy": np.__version__},
        "input_sha256": digest, "seed": SEED, "every": 8,
    }
    (folder / "backends.json").write_text(json.dumps(head | {"answers": answers}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
