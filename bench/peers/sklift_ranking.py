"""Time scikit-uplift's two area scores on the rows that our own bench wrote.

Arguments: prefix of the files and rows: PREFIX.score.f64, PREFIX.treated.u8,
PREFIX.outcome.u8. Prints one line of JSON; CPU seconds are user and system.
"""

import json
import os
import sys
from importlib.metadata import version

import numpy
from sklift.metrics import qini_auc_score, uplift_auc_score

prefix, rows = sys.argv[1], int(sys.argv[2])


def cpu_seconds():
    times = os.times()
    return times.user + times.system


def main():
    score = numpy.fromfile(f"{prefix}.score.f64", dtype="<f8")
    treated = numpy.fromfile(f"{prefix}.treated.u8", dtype="u1").astype(numpy.int64)
    outcome = numpy.fromfile(f"{prefix}.outcome.u8", dtype="u1").astype(numpy.int64)
    assert len(score) == rows, f"{len(score)} scores where {rows} were expected"

    began = cpu_seconds()
    qini = float(qini_auc_score(outcome, score, treated))
    after_qini = cpu_seconds()
    uplift = float(uplift_auc_score(outcome, score, treated))
    print(
        json.dumps(
            {
                "peer": f"scikit-uplift {version('scikit-uplift')}",
                "rows": rows,
                "qini_cpu_s": round(after_qini - began, 2),
                "uplift_cpu_s": round(cpu_seconds() - after_qini, 2),
                "cpu_s": round(cpu_seconds() - began, 2),
                "qini_sklift": qini,
                "auuc_sklift": uplift,
            }
        )
    )


main()
