"""The same search with Keras Tuner. Prints its times as JSON.

python -m tests.benchmarks.loops.keras_tuner_loop FILE TRIALS JIT STEPS_PER_EXECUTION
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras_tuner  # type: ignore[import-untyped]

from tests.benchmarks import cases
from tests.benchmarks.loops.keras_vae import fitted


class Search(keras_tuner.RandomSearch):  # type: ignore[misc]
    """Fits a fresh model for every trial, as Keras Tuner's guide to custom training shows."""

    def run_trial(self, trial: Any, **given: Any) -> dict[str, float]:
        """Times and fits one trial."""
        began = time.perf_counter()
        values = {
            name: trial.hyperparameters.Int(name, int(r.low), int(r.high))
            if r.integer
            else trial.hyperparameters.Float(name, r.low, r.high, sampling="log" if r.log else "linear")
            for name, r in given["ranges"].items()
        }
        settings = given["loaded"].definition.hyperparameters(values)
        history = fitted(
            given["loaded"],
            given["splits"],
            settings,
            jit_compile=given["jit_compile"],
            steps_per_execution=given["steps_per_execution"],
        )
        given["seconds"].append(time.perf_counter() - began)
        return {"score": history["val_reconstruction"][-1] + 10 * max(0.0, history["val_kl"][-1] - 5)}


def main(path: Path, trials: int, jit_compile: bool, steps_per_execution: int) -> None:
    """Time every trial."""
    loaded, splits = cases.load(path)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        tuner = Search(
            objective=keras_tuner.Objective("score", "min"), max_trials=trials, directory=folder, overwrite=True, seed=0
        )
        began = time.perf_counter()
        tuner.search(
            loaded=loaded,
            splits=splits,
            ranges=loaded.definition.space.searched(),
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
            seconds=seconds,
        )
        lost = (time.perf_counter() - began - sum(seconds)) / trials
    print(json.dumps([value + lost for value in seconds]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True", int(sys.argv[4]))
