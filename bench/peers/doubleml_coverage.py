"""DoubleML's interactive regression model with LightGBM on the draws of our own coverage study.

    cargo run --release -p impactiq-causal --example coverage_boosted -- export DRAWS --to 200
    python bench/peers/doubleml_coverage.py DRAWS OUT.txt

Reads every DRAWS/design.n.seed.f64 (six features, treatment and outcome by row, little-endian doubles) and
adds lines `design n seed estimator estimate error` to OUT.txt; lines that stand there are skipped. Two settings of
LightGBM: its own defaults (`doubleml`), and trees as light as the product's nuisances (`doubleml_light`: 100 trees of 8
leaves). Five folds, DoubleML's own trimming. Versions: requirements-doubleml.txt.
"""

import os
import sys
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import doubleml  # noqa: E402
import numpy as np  # noqa: E402
from lightgbm import LGBMClassifier, LGBMRegressor  # noqa: E402

warnings.filterwarnings("ignore")

SETTINGS = {"doubleml": {}, "doubleml_light": {"n_estimators": 100, "num_leaves": 8}}


def main(folder, out):
    done = set()
    if os.path.exists(out):
        with open(out) as lines:
            done = {tuple(line.split()[:4]) for line in lines}
    names = sorted((name for name in os.listdir(folder) if name.endswith(".f64")), key=lambda n: int(n.split(".")[2]))
    for name in names:
        design, n, seed, _ = name.split(".")
        draws = np.fromfile(os.path.join(folder, name), dtype="<f8").reshape(-1, 8)
        data = doubleml.DoubleMLData.from_arrays(draws[:, :6], draws[:, 7], draws[:, 6])
        for estimator, settings in SETTINGS.items():
            if (design, n, seed, estimator) in done:
                continue
            np.random.seed(int(seed))
            common = settings | {"random_state": int(seed), "n_jobs": 1, "verbose": -1}
            model = doubleml.DoubleMLIRM(data, LGBMRegressor(**common), LGBMClassifier(**common), n_folds=5)
            model.fit()
            with open(out, "a") as lines:
                lines.write(f"{design} {n} {seed} {estimator} {model.coef[0]:.8f} {model.se[0]:.8f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
