"""Grow EconML's causal forest on the rows that our own bench wrote; print one line of JSON.

The core alone: outcome and treatment come centred, nothing is predicted out of bag. The
files hold little-endian 32-bit floats: PREFIX.x.f32 (rows by 12), PREFIX.y.f32 and
PREFIX.t.f32 (centred), PREFIX.test.x.f32 and PREFIX.test.tau.f32 (the true effects).
Settings are the package's own but for the number of trees, the smallest leaf and one
thread. CPU seconds are user and system of this process.
"""

import argparse
import json
import os
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import econml  # noqa: E402
import numpy  # noqa: E402
from econml.grf import CausalForest  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--trees", type=int, required=True)
    parser.add_argument("--leaf", type=int, required=True)
    parser.add_argument("--answers", type=int, default=0, help="rows whose intervals are timed")
    parser.add_argument("--singles", type=int, default=0, help="rows that are asked one by one")
    return parser.parse_args()


def cpu_seconds():
    times = os.times()
    return times.user + times.system


def read(name, columns):
    numbers = numpy.fromfile(name, dtype="<f4")
    return numbers.reshape(-1, columns) if columns > 1 else numbers


def accuracy(effects, truth):
    return {
        "rmse": round(float(numpy.sqrt(numpy.mean((effects - truth) ** 2))), 5),
        "correlation": round(float(numpy.corrcoef(effects, truth)[0, 1]), 3),
    }


def speed(forest, features, rows, singles):
    """Rows a second with intervals, and microseconds of calls for one row with its interval."""
    began = cpu_seconds()
    forest.predict(features[:rows], interval=True, alpha=0.05)
    figures = {"interval_rows_per_s": round(rows / (cpu_seconds() - began), 1)}
    took = []
    for row in range(singles):
        tries = []
        # The least of a few: what else the machine does is not the forest's doing.
        for _ in range(5):
            began = time.perf_counter()
            forest.predict(features[row : row + 1], interval=True, alpha=0.05)
            tries.append(1e6 * (time.perf_counter() - began))
        took.append(min(tries))
    if took:
        figures["single_row_p50_us"] = round(float(numpy.percentile(took, 50)))
        figures["single_row_p99_us"] = round(float(numpy.percentile(took, 99)))
    return figures


def main():
    options = arguments()
    features = read(f"{options.prefix}.x.f32", 12)[: options.rows]
    outcome = read(f"{options.prefix}.y.f32", 1)[: options.rows]
    treatment = read(f"{options.prefix}.t.f32", 1)[: options.rows]
    assert len(features) == options.rows == len(outcome) == len(treatment), "too few rows in the files"
    test, truth = read(f"{options.prefix}.test.x.f32", 12), read(f"{options.prefix}.test.tau.f32", 1)

    forest = CausalForest(
        n_estimators=options.trees, min_samples_leaf=options.leaf, honest=True, inference=True, n_jobs=1, random_state=0
    )
    began = cpu_seconds()
    forest.fit(features, treatment.reshape(-1, 1).astype(float), outcome.reshape(-1, 1).astype(float))
    growing = cpu_seconds() - began
    nodes = [tree.tree_.node_count for tree in forest.estimators_]

    began = cpu_seconds()
    effects = forest.predict(test).ravel()
    figures = {
        "peer": f"EconML {econml.__version__}",
        "rows": options.rows,
        "trees": options.trees,
        "leaf": options.leaf,
        "rows_per_tree": int(options.rows * forest.max_samples),
        "growing_cpu_s": round(growing, 2),
        "cpu_ms_per_tree": round(1000 * growing / options.trees, 1),
        "nodes_per_tree": round(sum(nodes) / len(nodes)),
        "rows_per_s": round(len(test) / (cpu_seconds() - began), 1),
    }
    figures.update(accuracy(effects, truth))
    if options.answers:
        figures.update(speed(forest, test, min(options.answers, len(test)), options.singles))
    print(json.dumps(figures))


main()
