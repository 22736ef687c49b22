"""How many workers a storage carries: trials that only sleep, asked for and told as a worker does.

    python -m tests.benchmarks.storage_throughput URL [WORKERS ...]

Each worker has 8 slots, whose trials take 4 s: 2 trials a second, without what asking and telling take. Prints, for
each number of workers, the trials finished in a second and the share of the time in which the workers slept.
"""

import subprocess
import sys
import time
import uuid

import numpy as np

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Result
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.worker import Worker
from klsearch.search.trials.source import TrialSource
from klsearch.studies.definitions.catalog import load_definition
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import Members
from tests.benchmarks.bare import bare_study

SLOTS, SLEEP_SECONDS, WAVES = 8, 4.0, 6
DEFINITION = load_definition("digits")


def main(url: str, counts: list[int]) -> None:
    """Measure one storage with each number of workers."""
    for count in counts:
        name = str(uuid.uuid4())
        with open_storage(url, create=True) as storage:
            bare_study(storage, DEFINITION, name)
        began = time.monotonic() + 10 + count  # when all of them have started
        command = [sys.executable, "-m", "tests.benchmarks.storage_throughput", "--worker", url, name]
        budget = count * SLOTS * WAVES
        workers = [subprocess.Popen([*command, str(budget), str(began)]) for _ in range(count)]
        assert [worker.wait() for worker in workers] == [0] * count
        seconds = time.monotonic() - began
        with open_storage(url, create=False) as storage:
            rows = StudyStorage.load(storage, name).rows()
        assert len(rows) == budget and all(row.result is not None for row in rows)
        assert len({row.run.hyperparameters for row in rows}) == budget
        print(
            f"{count:3d} workers: {budget / seconds:6.1f} trials/s, {WAVES * SLEEP_SECONDS / seconds:4.0%} of the time"
        )


def work(url: str, name: str, budget: int, began: float) -> None:
    """One worker."""
    rows = np.random.default_rng(0).random((60, len(CURVE_NAMES)), np.float32)
    measures = Measures(
        reconstruction=1.0,
        unexplained=0.1,
        elbo=-1.0,
        active_units=8,
        clip_share_low=0.0,
        clip_share_high=0.1,
        kl_mean_part=np.ones(8),
        kl_variance_part=np.ones(8),
        prior_mismatch=np.ones(8),
    )
    result = Result(curves=TrainingCurves.from_rows(rows), measures={"validation": measures}, seconds=SLEEP_SECONDS)
    with open_storage(url, create=False) as storage:
        study = StudyStorage.load(storage, name)
        owner = this_process()
        worker = Worker(
            owner=owner, is_dead=study.leases.is_dead, turn=lambda: study.asking.turn(owner, wait=time.sleep)
        )
        source = TrialSource(study, DEFINITION.definition, budget=budget, worker=worker, tell=lambda ended: None)
        time.sleep(max(0.0, began - time.monotonic()))
        while jobs := source.take(SLOTS):
            study.leases.say_alive(owner, {})
            time.sleep(SLEEP_SECONDS)
            source.finish({job.number: result for job in jobs}, _no_member)


def _no_member(number: int) -> Members:
    raise AssertionError(f"nobody asks for the member of row {number}")


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    else:
        main(sys.argv[1], [int(count) for count in sys.argv[2:]] or [1, 2, 4, 8, 16])
