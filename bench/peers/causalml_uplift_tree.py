"""Uplift trees of CausalML on rows that crates/impactiq-trees/tests/uplift_parity.rs makes too.

    python bench/peers/causalml_uplift_tree.py > crates/impactiq-trees/tests/golden/causalml_uplift_tree.json

Settings on which the two conventions differ are off: shrinkage (there to the parent's own shrunken rates; at a
root, which has no parent, the two are the same, so it is on in two cases of depth 1) and normalising
(there entropies have one term of the paper's two, and shares a tenth of a row more).
"""

import json
from importlib.metadata import version

import numpy as np
from causalml.inference.tree import UpliftTreeClassifier

N, LEVELS = 6000, (12, 15, 20, 3)
MASK = (1 << 64) - 1


def rows(n_arms):
    """A linear congruential generator: 31 high bits per draw, features, arm, outcome, row by row."""
    state = 2026 + n_arms

    def below(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        return (state >> 33) % n

    x, arm, y = np.zeros((N, 4)), np.zeros(N, int), np.zeros(N, int)
    for i in range(N):
        x[i] = [below(n) for n in LEVELS]
        arm[i] = below(n_arms)
        rate = 150 + 10 * x[i, 1]
        if x[i, 0] >= 7:
            rate += 150 * arm[i]
        if x[i, 2] < 6:
            rate -= 80 * arm[i]
        y[i] = below(1000) < rate
    digest = 0xCBF29CE484222325  # FNV-1a over the bytes of all rows
    for i in range(N):
        for byte in [int(v) for v in x[i]] + [int(arm[i]), int(y[i])]:
            digest = ((digest ^ byte) * 0x100000001B3) & MASK
    return x, arm, y, f"{digest:016x}"


def tree_of(model):
    t = model.tree_

    def node(at):
        own = {"means": [float(v) for v in t.value[at, :, 0]], "rows": int(t.n_node_samples[at])}
        if t.children_left[at] != -1:
            own |= {
                "feature": int(t.feature[at]),
                "threshold": float(t.threshold[at]),
                "left": node(t.children_left[at]),
                "right": node(t.children_right[at]),
            }
        return own

    return node(0)


def case(criterion, n_arms, depth, shrinkage=0):
    x, arm, y, _ = rows(n_arms)
    model = UpliftTreeClassifier(
        control_name="0",
        max_depth=depth,
        min_samples_leaf=200,
        min_samples_treatment=1,
        n_reg=shrinkage,
        normalization=False,
        evaluationFunction=criterion,
        random_state=1,
    )
    model.fit(X=x, treatment=arm.astype(str), y=y)
    names = {"KL": "kl", "ED": "euclidean", "Chi": "chi_square", "DDP": "ddp", "IT": "interaction", "CTS": "cts"}
    return {
        "criterion": names[criterion],
        "n_arms": n_arms,
        "depth": depth,
        "shrinkage": shrinkage,
        "tree": tree_of(model),
    }


cases = [case(c, 2, 3) for c in ("KL", "ED", "Chi", "DDP", "IT", "CTS")]
cases += [case(c, 4, 3) for c in ("KL", "ED", "Chi", "CTS")]
cases += [case("KL", 2, 1, shrinkage=200), case("ED", 2, 1, shrinkage=200)]
print(
    json.dumps(
        {
            "peer": "causalml",
            "version": version("causalml"),
            "command": "python bench/peers/causalml_uplift_tree.py",
            "input_fnv1a": {str(n): rows(n)[3] for n in (2, 4)},
            "cases": cases,
        },
        indent=1,
    )
)
