"""EconML's forests on ACIC 2016 and IHDP: the root of the mean squared error of row-level effects.

python econml_pehe.py DATA_FOLDER OUT.txt [--acic 6] [--ihdp 50]

Adds one line `set replication learner sqrt_pehe` per fit to OUT.txt; lines that stand there are skipped, so a
run can be stopped and taken up again. Learners: CausalForestDML with its defaults (nuisances chosen by
cross-validation) and CausalForest (500 trees, honest) on treatment and outcome residuals of gradient boosting, 5 folds. Effects
are those of the rows that were learned from, as for the product (`cargo run --release -p impactiq-causal --example pehe`).
Categories become indicators. Seeds are the replications' numbers. Written for econml 0.17, scikit-learn 1.6+.
"""

import argparse
import gzip
import os

import numpy as np
import pandas as pd
from econml.dml import CausalForestDML
from econml.grf import CausalForest
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.model_selection import cross_val_predict


def causal_forest_dml(x, t, y, seed):
    model = CausalForestDML(discrete_treatment=True, random_state=seed)
    model.fit(y, t, X=x)
    return model.effect(x).ravel()


def causal_forest(x, t, y, seed):
    y_hat = cross_val_predict(GradientBoostingRegressor(random_state=seed), x, y, cv=5)
    t_hat = cross_val_predict(GradientBoostingClassifier(random_state=seed), x, t, cv=5, method="predict_proba")[:, 1]
    t_hat = np.clip(t_hat, 0.01, 0.99)
    forest = CausalForest(n_estimators=500, random_state=seed, n_jobs=1)
    forest.fit(x, (t - t_hat).reshape(-1, 1), (y - y_hat).reshape(-1, 1))
    return forest.predict(x).ravel()


LEARNERS = {"CausalForestDML": causal_forest_dml, "CausalForest": causal_forest}


def replications(folder, n_acic, n_ihdp):
    x = pd.read_csv(os.path.join(folder, "acic2016", "x.csv.gz"))
    x = pd.get_dummies(x, dtype=float).to_numpy()
    for k in range(1, n_acic + 1):
        z = pd.read_csv(os.path.join(folder, "acic2016", f"zymu_{k}.csv.gz"))
        y = np.where(z.z == 1, z.y1, z.y0)
        yield "acic", k, x, z.z.to_numpy(), y, (z.mu1 - z.mu0).to_numpy()
    ihdp = [pd.read_csv(gzip.open(os.path.join(folder, "ihdp", f))) for f in sorted(os.listdir(os.path.join(folder, "ihdp")))]
    ihdp = pd.concat(ihdp)
    for rep in range(1, n_ihdp + 1):
        d = ihdp[ihdp.rep == rep]
        x = d[[f"x{j}" for j in range(1, 26)]].to_numpy(dtype=float)
        yield "ihdp", rep, x, d.treatment.to_numpy(), d.y_factual.to_numpy(), (d.mu1 - d.mu0).to_numpy()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--acic", type=int, default=6)
    parser.add_argument("--ihdp", type=int, default=50)
    arguments = parser.parse_args()
    done = set()
    if os.path.exists(arguments.out):
        with open(arguments.out) as lines:
            done = {tuple(line.split()[:3]) for line in lines}
    for name, rep, x, t, y, tau in replications(arguments.folder, arguments.acic, arguments.ihdp):
        for learner, fit in LEARNERS.items():
            if (name, str(rep), learner) in done:
                continue
            error = np.sqrt(np.mean((fit(x, t, y, rep) - tau) ** 2))
            with open(arguments.out, "a") as out:
                out.write(f"{name} {rep} {learner} {error:.6f}\n")


if __name__ == "__main__":
    main()
