"""Fit one of CausalML's learners with LightGBM on the rows that our own bench wrote; one line of JSON.

Every model is LightGBM with the trees and leaves that were asked for. A learner's name with
`_given` hands over the probability of treatment by design; without, it is left to the
package, whose default is a penalised logistic regression chosen by cross-validation. The files
are those of causalml_uplift.py. CPU seconds are user and system of this process.
"""

import argparse
import json
import os
from importlib.metadata import version

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import lightgbm  # noqa: E402
import numpy  # noqa: E402
from causalml.inference import meta  # noqa: E402

# The design of the generated trial.
PROBABILITY = 0.85


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--learner", choices=[f"{kind}{p}" for kind in "s t x r dr".split() for p in ("", "_given")])
    for name in ("rows", "trees", "leaves"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def cpu_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def learner(kind, trees, leaves):
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

    makers = {
        "s": lambda: meta.BaseSClassifier(learner=chance(), control_name=0),
        "t": lambda: meta.BaseTClassifier(learner=chance(), control_name=0),
        "x": lambda: meta.BaseXClassifier(outcome_learner=chance(), effect_learner=mean(), control_name=0),
        "r": lambda: meta.BaseRClassifier(outcome_learner=chance(), effect_learner=mean(), control_name=0),
        "dr": lambda: meta.BaseDRRegressor(learner=mean(), control_name=0),
    }
    return makers[kind]()


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

    kind, _, given = options.learner.partition("_")
    model = learner(kind, options.trees, options.leaves)
    words = {"p": numpy.full(len(features), PROBABILITY)} if given and kind not in "st" else {}
    began = cpu_seconds()
    model.fit(X=features, treatment=treated, y=outcome, **words)
    fitting = cpu_seconds() - began
    words = {"p": numpy.full(len(test), PROBABILITY)} if words and kind != "r" else {}
    began = cpu_seconds()
    effects = numpy.asarray(model.predict(X=test, **words)).ravel()
    predicting = cpu_seconds() - began
    print(
        json.dumps(
            {
                "peer": f"CausalML {version('causalml')} with LightGBM {lightgbm.__version__}",
                "learner": options.learner,
                "rows": options.rows,
                "trees": options.trees,
                "leaves": options.leaves,
                "cpu_s": round(fitting, 2),
                "rows_per_s": round(len(test) / max(predicting, 0.01)),
                "rmse": round(float(numpy.sqrt(numpy.mean((effects - truth) ** 2))), 5),
                "correlation": round(float(numpy.corrcoef(effects, truth)[0, 1]), 3),
                "top_10_percent": round(top_share(effects, truth), 3),
            }
        )
    )


main()
