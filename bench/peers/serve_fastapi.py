"""The usual way to put a LightGBM T-learner behind HTTP: FastAPI, pydantic, uvicorn.

MODELS=FOLDER uvicorn serve_fastapi:app --port 8600       (FOLDER as serve_models.py left it)
"""

import os

import lightgbm
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

FEATURES = [f"f{i}" for i in range(12)]
ARMS = [lightgbm.Booster(model_file=os.path.join(os.environ["MODELS"], f"arm_{arm}.txt")) for arm in (0, 1)]

app = FastAPI()


class Question(BaseModel):
    rows: list[dict[str, float | None]]


@app.get("/ready")
def ready():
    return {"ready": True}


@app.post("/score")
def score(question: Question):
    x = np.array([[row.get(name) for name in FEATURES] for row in question.rows], dtype=float)
    control, treated = (arm.predict(x, num_threads=1) for arm in ARMS)
    return {"scores": [{"cate": t - c, "mean_0": c, "mean_1": t} for c, t in zip(control.tolist(), treated.tolist(), strict=True)]}
