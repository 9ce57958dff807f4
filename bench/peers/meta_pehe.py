"""Meta-learners of EconML or CausalML on ACIC 2016 and IHDP: the root of the mean squared error of effects by row.

python meta_pehe.py econml|causalml DATA_FOLDER OUT.txt [--acic 6] [--ihdp 30]

Adds one line `set replication learner sqrt_pehe` per fit to OUT.txt and skips the lines that stand
there. Neither package has a default model for its meta-learners: every model is LightGBM with its own
defaults, everything else is the package's default (EconML cross-fits DRLearner and NonParamDML, CausalML
learns its elastic-net propensity). Effects are those of the rows that were learned from, as for the
product. Categories become indicators; seeds are the
replications' numbers. Written for econml 0.17, causalml 0.18, lightgbm 4.
"""

import argparse
import os
import warnings

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor

warnings.filterwarnings("ignore")


def regressor(seed):
    return LGBMRegressor(random_state=seed, n_jobs=1, verbose=-1)


def classifier(seed):
    return LGBMClassifier(random_state=seed, n_jobs=1, verbose=-1)


def econml(x, t, y, seed):
    from econml.dml import NonParamDML
    from econml.dr import DRLearner
    from econml.metalearners import SLearner, TLearner, XLearner

    made = {
        "s": SLearner(overall_model=regressor(seed)),
        "t": TLearner(models=regressor(seed)),
        "x": XLearner(models=regressor(seed), propensity_model=classifier(seed)),
        "dr": DRLearner(
            model_propensity=classifier(seed), model_regression=regressor(seed), model_final=regressor(seed), random_state=seed
        ),
        "nonparam_dml": NonParamDML(
            model_y=regressor(seed), model_t=classifier(seed), model_final=regressor(seed),
            discrete_treatment=True, random_state=seed,
        ),
    }
    for name, learner in made.items():
        yield name, learner.fit(y, t, X=x).effect(x).ravel()


def causalml(x, t, y, seed):
    from causalml.inference.meta import (
        BaseDRLearner, BaseRRegressor, BaseSRegressor, BaseTRegressor, BaseXRegressor,
    )

    np.random.seed(seed)
    made = {
        "s": BaseSRegressor(learner=regressor(seed)),
        "t": BaseTRegressor(learner=regressor(seed)),
        "x": BaseXRegressor(learner=regressor(seed)),
        "r": BaseRRegressor(learner=regressor(seed), random_state=seed),
        "dr": BaseDRLearner(learner=regressor(seed)),
    }
    for name, learner in made.items():
        yield name, np.ravel(learner.fit_predict(X=x, treatment=t, y=y))


def replications(folder, n_acic, n_ihdp):
    x = pd.get_dummies(pd.read_csv(os.path.join(folder, "acic2016", "x.csv.gz")), dtype=float).to_numpy()
    for k in range(1, n_acic + 1):
        z = pd.read_csv(os.path.join(folder, "acic2016", f"zymu_{k}.csv.gz"))
        y = np.where(z.z == 1, z.y1, z.y0)
        yield "acic", k, x, z.z.to_numpy(), y, (z.mu1 - z.mu0).to_numpy()
    names = sorted(os.listdir(os.path.join(folder, "ihdp")))
    ihdp = pd.concat([pd.read_csv(os.path.join(folder, "ihdp", name)) for name in names if name.endswith(".csv.gz")])
    for rep in range(1, n_ihdp + 1):
        d = ihdp[ihdp.rep == rep]
        x = d[[f"x{j}" for j in range(1, 26)]].to_numpy(dtype=float)
        yield "ihdp", rep, x, d.treatment.to_numpy(), d.y_factual.to_numpy(), (d.mu1 - d.mu0).to_numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", choices=["econml", "causalml"])
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--acic", type=int, default=6)
    parser.add_argument("--ihdp", type=int, default=30)
    arguments = parser.parse_args()
    learners = {"econml": econml, "causalml": causalml}[arguments.package]
    done = set()
    if os.path.exists(arguments.out):
        with open(arguments.out) as lines:
            done = {tuple(line.split()[:2]) for line in lines}
    for name, rep, x, t, y, tau in replications(arguments.folder, arguments.acic, arguments.ihdp):
        if (name, str(rep)) in done:
            continue
        lines = []
        for learner, effect in learners(x, t, y, rep):
            lines.append(f"{name} {rep} {arguments.package}_{learner} {np.sqrt(np.mean((effect - tau) ** 2)):.6f}\n")
        with open(arguments.out, "a") as out:
            out.writelines(lines)


if __name__ == "__main__":
    main()
