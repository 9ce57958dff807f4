"""Grow CausalML's uplift forest (KL) on the rows that our own bench wrote; print one line of JSON.

The files hold PREFIX.x.f32 (rows by 12), PREFIX.treated.u8, PREFIX.outcome.u8, and
PREFIX.test.x.f32 and PREFIX.test.tau.f32 (the true effects), little-endian. Settings are the
package's own but for trees, depth, the smallest leaf and one thread. CPU seconds are user and
system of this process and its children.
"""

import argparse
import json
import os
from importlib.metadata import version

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy  # noqa: E402
from causalml.inference.tree import UpliftRandomForestClassifier  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True)
    for name in ("rows", "trees", "depth", "leaf"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def cpu_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def nodes_of(tree):
    """Nodes of a tree, leaves included."""
    branches = [branch for branch in (tree.trueBranch, tree.falseBranch) if branch is not None]
    return 1 + sum(nodes_of(branch) for branch in branches)


def main():
    options = arguments()
    features = numpy.fromfile(f"{options.prefix}.x.f32", dtype="<f4").reshape(-1, 12).astype(numpy.float64)
    treated = numpy.fromfile(f"{options.prefix}.treated.u8", dtype="u1").astype(str)
    outcome = numpy.fromfile(f"{options.prefix}.outcome.u8", dtype="u1").astype(int)
    assert len(features) == options.rows == len(treated) == len(outcome), "other rows than were announced"
    test = numpy.fromfile(f"{options.prefix}.test.x.f32", dtype="<f4").reshape(-1, 12).astype(numpy.float64)
    truth = numpy.fromfile(f"{options.prefix}.test.tau.f32", dtype="<f4")

    forest = UpliftRandomForestClassifier(
        control_name="0",
        n_estimators=options.trees,
        max_depth=options.depth,
        min_samples_leaf=options.leaf,
        evaluationFunction="KL",
        n_jobs=1,
        random_state=0,
    )
    began = cpu_seconds()
    forest.fit(features, treated, outcome)
    growing = cpu_seconds() - began
    began = cpu_seconds()
    effects = numpy.asarray(forest.predict(test)).ravel()
    predicting = cpu_seconds() - began
    nodes = [nodes_of(tree.fitted_uplift_tree) for tree in forest.uplift_forest]
    print(
        json.dumps(
            {
                "peer": f"CausalML {version('causalml')}",
                "rows": options.rows,
                "trees": options.trees,
                "depth": options.depth,
                "leaf": options.leaf,
                "growing_cpu_s": round(growing, 2),
                "cpu_ms_per_tree": round(1000 * growing / options.trees, 1),
                "nodes_per_tree": round(sum(nodes) / len(nodes)),
                "rows_per_s": round(len(test) / max(predicting, 0.01)),
                "rmse": round(float(numpy.sqrt(numpy.mean((effects - truth) ** 2))), 5),
                "correlation": round(float(numpy.corrcoef(effects, truth)[0, 1]), 3),
            }
        )
    )


main()
