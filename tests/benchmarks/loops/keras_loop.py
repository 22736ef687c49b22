"""The search that a user writes today: Optuna, and a fresh Keras model for every trial. Prints its times as JSON.

python -m tests.benchmarks.loops.keras_loop FILE TRIALS JIT STEPS_PER_EXECUTION
"""

import json
import sys
import time
from pathlib import Path

import optuna

from tests.benchmarks import cases
from tests.benchmarks.loops.keras_vae import fitted


def main(path: Path, trials: int, jit_compile: bool, steps_per_execution: int) -> None:
    """Time every trial."""
    loaded, splits = cases.load(path)
    seconds, ranges = [], loaded.definition.space.searched()

    def objective(trial: optuna.Trial) -> float:
        began = time.perf_counter()
        values: dict[str, float] = {
            name: trial.suggest_int(name, int(r.low), int(r.high))
            if r.integer
            else trial.suggest_float(name, r.low, r.high, log=r.log)
            for name, r in ranges.items()
        }
        settings = loaded.definition.hyperparameters(values)
        history = fitted(loaded, splits, settings, jit_compile=jit_compile, steps_per_execution=steps_per_execution)
        seconds.append(time.perf_counter() - began)
        return float(history["val_reconstruction"][-1] + 10 * max(0.0, history["val_kl"][-1] - 5))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, seed=0)).optimize(objective, trials)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True", int(sys.argv[4]))
