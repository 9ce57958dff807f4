"""Train LightGBM on the rows that our own bench wrote, and print one line of JSON.

Arguments: prefix of the files, rows, rows of the test, trees, leaves, threads. The files
hold little-endian 32-bit floats: PREFIX.x.f32 (rows by 12), PREFIX.y.f32, and the same
with PREFIX.test. CPU seconds are user and system of this process, all threads.
"""

import json
import os
import sys

import lightgbm
import numpy
from sklearn.metrics import log_loss, roc_auc_score

prefix, rows, test_rows, trees, leaves, threads = sys.argv[1], *map(int, sys.argv[2:7])


def cpu_seconds():
    times = os.times()
    return times.user + times.system


def read(name, n):
    features = numpy.fromfile(f"{name}.x.f32", dtype="<f4").reshape(n, 12)
    return features, numpy.fromfile(f"{name}.y.f32", dtype="<f4")


def main():
    features, outcome = read(prefix, rows)
    test_features, test_outcome = read(prefix + ".test", test_rows)
    settings = {
        "objective": "binary",
        "num_leaves": leaves,
        "learning_rate": 0.1,
        "num_threads": threads,
        "verbose": -1,
        "seed": 0,
    }

    began = cpu_seconds()
    data = lightgbm.Dataset(features, outcome, params=settings).construct()
    binning = cpu_seconds() - began

    began = cpu_seconds()
    model = lightgbm.train(settings, data, num_boost_round=trees)
    training = cpu_seconds() - began

    began = cpu_seconds()
    probability = model.predict(test_features, num_threads=threads)
    predicting = cpu_seconds() - began
    n_leaves = sum(tree["num_leaves"] for tree in model.dump_model()["tree_info"])
    print(
        json.dumps(
            {
                "peer": f"LightGBM {lightgbm.__version__}",
                "rows": rows,
                "trees": model.num_trees(),
                "leaves": n_leaves,
                "threads": threads,
                "binning_cpu_s": round(binning, 2),
                "training_cpu_s": round(training, 2),
                "predict_rows": test_rows,
                "predict_cpu_s": round(predicting, 2),
                "auc": round(float(roc_auc_score(test_outcome, probability)), 5),
                "log_loss": round(float(log_loss(test_outcome, probability)), 6),
            }
        )
    )


main()
