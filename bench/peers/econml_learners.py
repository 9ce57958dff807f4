"""Fit one of EconML's learners with LightGBM on the rows that our own bench wrote; one line of JSON.

Every model is LightGBM with the trees and leaves that were asked for; cross-fitting has two
folds. The files are those of causalml_uplift.py. CPU seconds are user and system of this
process; reading files and importing packages are not in them.
"""

import argparse
import json
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import econml  # noqa: E402
import lightgbm  # noqa: E402
import numpy  # noqa: E402
from econml import metalearners  # noqa: E402
from econml.dml import LinearDML, NonParamDML  # noqa: E402
from econml.dr import DRLearner, LinearDRLearner  # noqa: E402

KINDS = ("s", "t", "x", "dr", "linear_dml", "linear_dr", "nonparam_dml")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--learner", choices=KINDS, required=True)
    for name in ("rows", "trees", "leaves"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def cpu_seconds():
    times = os.times()
    return times.user + times.system


def learner(kind, trees, leaves):
    """The learner and how many models of how many of the rows it fits."""
    settings = {
        "n_estimators": trees,
        "num_leaves": leaves,
        "learning_rate": 0.1,
        "n_jobs": 1,
        "verbose": -1,
        "random_state": 0,
    }

    def mean():
        return lightgbm.LGBMRegressor(**settings)

    def chance():
        return lightgbm.LGBMClassifier(**settings)

    residuals = {"model_y": chance(), "model_t": chance(), "discrete_outcome": True, "discrete_treatment": True}
    scores = {"model_regression": chance(), "model_propensity": chance(), "discrete_outcome": True}
    folds = {"cv": 2, "random_state": 0}
    makers = {
        "s": (lambda: metalearners.SLearner(overall_model=mean()), "1"),
        "t": (lambda: metalearners.TLearner(models=mean()), "2 of one arm"),
        "x": (
            lambda: metalearners.XLearner(models=mean(), cate_models=mean(), propensity_model=chance()),
            "4 of one arm, 1",
        ),
        "dr": (lambda: DRLearner(model_final=mean(), **scores, **folds), "4 of half the rows, 1"),
        "linear_dml": (lambda: LinearDML(**residuals, **folds), "4 of half the rows, 1 linear"),
        "linear_dr": (lambda: LinearDRLearner(**scores, **folds), "4 of half the rows, 1 linear"),
        "nonparam_dml": (lambda: NonParamDML(model_final=mean(), **residuals, **folds), "4 of half the rows, 1"),
    }
    make, fits = makers[kind]
    return make(), fits


def top_share(effects, truth, share=0.1):
    """What the best-ranked rows gain over the average, as a share of what the truth would."""
    count = int(share * len(truth))
    best = numpy.sort(truth)[-count:].mean() - truth.mean()
    return float((truth[numpy.argsort(-effects, kind="stable")[:count]].mean() - truth.mean()) / best)


def main():
    options = arguments()
    features = numpy.fromfile(f"{options.prefix}.x.f32", dtype="<f4").reshape(-1, 12)
    treated = numpy.fromfile(f"{options.prefix}.treated.u8", dtype="u1").astype(int)
    outcome = numpy.fromfile(f"{options.prefix}.outcome.u8", dtype="u1").astype(float)
    assert len(features) == options.rows == len(treated) == len(outcome), "other rows than were announced"
    test = numpy.fromfile(f"{options.prefix}.test.x.f32", dtype="<f4").reshape(-1, 12)
    truth = numpy.fromfile(f"{options.prefix}.test.tau.f32", dtype="<f4").astype(float)

    model, fits = learner(options.learner, options.trees, options.leaves)
    began = cpu_seconds()
    model.fit(outcome, treated, X=features)
    fitting = cpu_seconds() - began
    began = cpu_seconds()
    effects = numpy.asarray(model.effect(test)).ravel()
    predicting = cpu_seconds() - began
    print(
        json.dumps(
            {
                "peer": f"EconML {econml.__version__} with LightGBM {lightgbm.__version__}",
                "learner": options.learner,
                "rows": options.rows,
                "trees": options.trees,
                "leaves": options.leaves,
                "fits": fits,
                "cpu_s": round(fitting, 2),
                "rows_per_s": round(len(test) / max(predicting, 0.01)),
                "rmse": round(float(numpy.sqrt(numpy.mean((effects - truth) ** 2))), 5),
                "correlation": round(float(numpy.corrcoef(effects, truth)[0, 1]), 3),
                "top_10_percent": round(top_share(effects, truth), 3),
            }
        )
    )


main()
