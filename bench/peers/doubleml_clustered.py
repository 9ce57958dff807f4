"""DoubleML's errors by cluster: plr and irm on the first 9,900 rows of 401(k), clusters of five rows that
follow each other, fold = cluster mod 5, linear nuisances (logistic for irm's propensity).

Usage: python doubleml_clustered.py PENSION_CSV_GZ > tests/golden/doubleml/clustered.json
Needs DoubleML 0.11.4 (requirements: doubleml, scikit-learn, pandas).
"""

import hashlib
import json
import sys

import doubleml
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

X = ["age", "inc", "educ", "fsize", "marr", "twoearn", "db", "pira", "hown"]
ROWS, SIZE, FOLDS = 9_900, 5, 5


def answer(model):
    return {"coef": float(model.coef[0]), "se": float(model.se[0]), "n": ROWS}


def main(path):
    frame = pd.read_csv(path).iloc[:ROWS].copy()
    frame["cluster"] = np.arange(ROWS) // SIZE
    for name in X:
        # The same design whatever the scale: the solver of the logistic model then gets to the end.
        frame[name] = (frame[name] - frame[name].mean()) / frame[name].std()
    data = doubleml.DoubleMLData(
        frame[["net_tfa", "e401", "cluster", *X]], "net_tfa", "e401", X, cluster_cols="cluster"
    )
    fold = (np.arange(ROWS) // SIZE) % FOLDS
    cluster_fold = np.arange(ROWS // SIZE) % FOLDS
    rows, clusters = [], []
    for k in range(FOLDS):
        rows.append((np.flatnonzero(fold != k), np.flatnonzero(fold == k)))
        clusters.append(
            ([np.flatnonzero(cluster_fold != k)], [np.flatnonzero(cluster_fold == k)])
        )
    logistic = LogisticRegression(C=np.inf, tol=1e-12, max_iter=100_000)
    models = {
        "plr": doubleml.DoubleMLPLR(data, LinearRegression(), LinearRegression(), n_folds=FOLDS),
        "irm": doubleml.DoubleMLIRM(data, LinearRegression(), logistic, n_folds=FOLDS),
    }
    answers = {}
    for name, model in models.items():
        model.set_sample_splitting([rows], [clusters])
        model.fit()
        answers[name] = answer(model)
    print(
        json.dumps(
            {
                "doubleml": doubleml.__version__,
                "input_sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(),
                "n_clusters": ROWS // SIZE,
                "answers": answers,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
