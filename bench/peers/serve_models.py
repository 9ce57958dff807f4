"""A T-learner of LightGBM with the shape of ours, saved for FastAPI and for MLflow, and requests for every server.

python serve_models.py TRIAL.parquet FOLDER --trees 300 --leaves 31 --rows 1000

Writes FOLDER/arm_0.txt and arm_1.txt (boosters), FOLDER/mlflow (a pyfunc model that answers cate), FOLDER/rows.ndjson (rows
as JSON, one a line) and FOLDER/batch.arrows (the same rows as an Arrow IPC stream). Prints one JSON object.
"""

import argparse
import json
import os
import shutil

import lightgbm
import mlflow.pyfunc
import pandas as pd
import pyarrow as pa

FEATURES = [f"f{i}" for i in range(12)]


class TwoArms(mlflow.pyfunc.PythonModel):
    """What most teams would write: two boosters and their difference."""

    def load_context(self, context):
        self.arms = [lightgbm.Booster(model_file=context.artifacts[f"arm_{arm}"]) for arm in (0, 1)]

    def predict(self, context, model_input, params=None):
        x = model_input[FEATURES].to_numpy(dtype=float)
        control, treated = (arm.predict(x, num_threads=1) for arm in self.arms)
        return pd.DataFrame({"cate": treated - control, "mean_0": control, "mean_1": treated})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("trial")
    parser.add_argument("folder")
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--rows", type=int, default=1000)
    arguments = parser.parse_args()
    trial = pd.read_parquet(arguments.trial)
    os.makedirs(arguments.folder, exist_ok=True)
    place = lambda name: os.path.join(arguments.folder, name)
    artifacts = {}
    n_leaves = 0
    for arm in (0, 1):
        rows = trial[trial.treatment == arm]
        parameters = {"objective": "binary", "num_leaves": arguments.leaves, "learning_rate": 0.05, "min_data_in_leaf": 20, "num_threads": 2, "verbose": -1}
        data = lightgbm.Dataset(rows[FEATURES].to_numpy(dtype=float), label=rows.visit.to_numpy())
        booster = lightgbm.train(parameters, data, num_boost_round=arguments.trees)
        booster.save_model(place(f"arm_{arm}.txt"))
        artifacts[f"arm_{arm}"] = place(f"arm_{arm}.txt")
        n_leaves += sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])
    shutil.rmtree(place("mlflow"), ignore_errors=True)
    mlflow.pyfunc.save_model(place("mlflow"), python_model=TwoArms(), artifacts=artifacts, pip_requirements=["lightgbm"])
    some = trial[FEATURES].head(arguments.rows)
    with open(place("rows.ndjson"), "w") as out:
        for row in some.to_dict(orient="records"):
            out.write(json.dumps(row) + "\n")
    table = pa.Table.from_pandas(some, preserve_index=False)
    with pa.OSFile(place("batch.arrows"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    print(json.dumps({"trees": 2 * arguments.trees, "leaves": n_leaves, "lightgbm": lightgbm.__version__, "mlflow": mlflow.__version__}))


if __name__ == "__main__":
    main()
