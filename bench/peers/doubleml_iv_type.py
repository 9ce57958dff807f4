"""DoubleML's IV-type plr on 401(k), fold = row mod 5, linear nuisances.

Usage: python doubleml_iv_type.py PENSION_CSV_GZ > tests/golden/doubleml/iv_type.json
Needs DoubleML 0.11.4 (requirements: doubleml, scikit-learn, pandas).
"""

import hashlib
import json
import sys

import doubleml
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

X = ["age", "inc", "educ", "fsize", "marr", "twoearn", "db", "pira", "hown"]


def main(path):
    frame = pd.read_csv(path)
    fold = np.arange(len(frame)) % 5
    smpls = [(np.where(fold != k)[0], np.where(fold == k)[0]) for k in range(5)]
    data = doubleml.DoubleMLData(frame, y_col="net_tfa", d_cols="e401", x_cols=X)
    model = doubleml.DoubleMLPLR(
        data,
        ml_l=LinearRegression(),
        ml_m=LinearRegression(),
        ml_g=LinearRegression(),
        score="IV-type",
        n_folds=5,
        draw_sample_splitting=False,
    )
    model.set_sample_splitting(smpls)
    model.fit()
    answer = {
        "peer": f"DoubleML {doubleml.__version__}",
        "command": "python bench/peers/doubleml_iv_type.py pension.csv.gz",
        "input_sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(),
        "coef": float(model.coef[0]),
        "se": float(model.se[0]),
        "n": len(frame),
    }
    json.dump(answer, sys.stdout, indent=1)
    print()


main(sys.argv[1])
