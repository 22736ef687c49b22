"""How many workers a storage carries: trials that only sleep, asked for and told as a worker does.

    python -m tests.benchmarks.storage_throughput URL [WORKERS ...]
    python -m tests.benchmarks.storage_throughput --growth URL [TRIALS ...]

Each worker has 8 slots, whose trials take 4 s: 2 trials a second, without what asking and telling take. Prints, for
each number of workers, the trials finished in a second, the share of the time in which the workers slept, and what
asking for 8 trials and storing their results took of a worker's processor.

`--growth` prints what one worker's turn takes in a study of so many trials: to ask for a trial, all else in a turn, the
first turn after a start, and to store a result; the median of 10 turns for 8 trials each, in ms of its processor.
"""

import statistics
import subprocess
import sys
import time
import uuid
from typing import Any

import numpy as np
import psutil

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import NewRow, Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.sampling import Advisor
from klsearch.search.trials.source import TrialSource
from klsearch.studies.definitions.catalog import load_definition, override
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import Members
from tests.benchmarks.bare import bare_study

SLOTS, SLEEP_SECONDS, WAVES = 8, 4.0, 6
DEFINITION = override(load_definition("digits"), stop="budget")  # workers wait for each other at every look otherwise


def main(url: str, counts: list[int]) -> None:
    """Measure one storage with each number of workers."""
    for count in counts:
        name = str(uuid.uuid4())
        with open_storage(url, create=True) as storage:
            bare_study(storage, DEFINITION, name)
        command = [sys.executable, "-m", "tests.benchmarks.storage_throughput", "--worker", url, name]
        budget = count * SLOTS * WAVES
        workers = [
            subprocess.Popen([*command, str(budget)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        assert {worker.stdout.readline() for worker in workers if worker.stdout is not None} == {"ready\n"}
        began = time.monotonic()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        spent = sum(float(worker.communicate()[0]) for worker in workers)
        assert [worker.returncode for worker in workers] == [0] * count
        seconds = time.monotonic() - began
        with open_storage(url, create=False) as storage:
            rows = StudyStorage.load(storage, name).rows()
        assert len(rows) == budget and all(row.result is not None for row in rows)
        assert len({row.run.hyperparameters for row in rows}) == budget
        print(
            f"{count:3d} workers: {budget / seconds:6.1f} trials/s, {WAVES * SLEEP_SECONDS / seconds:4.0%} of the time,"
            f" {1000 * spent / (WAVES * count):4.0f} ms of a processor a turn",
            flush=True,
        )


def grow(url: str, counts: list[int]) -> None:
    """Measure one study at each number of trials."""
    definition = DEFINITION.definition
    ranges = definition.space.searched()
    with open_storage(url, create=True) as storage:
        study, owner, rng = bare_study(storage, DEFINITION, str(uuid.uuid4())), this_process(), np.random.default_rng(0)
        given = Advisor("random", ranges, 0)
        for count in counts:
            for number in range(len(study.trials()), count):
                params, distributions = given.suggest()
                run = Run(hyperparameters=definition.hyperparameters(params), seed=0, label="search")
                study.create_row(run, owner, params=params, distributions=distributions)
                violation = {"band": rng.normal()}
                study.finish_row(number, _result(rng), owner=owner, score=rng.random(), constraints=violation)
            known = StudyStorage.load(storage, study.name)
            worker = Worker(owner=owner, is_dead=known.leases.is_dead)
            source = Timed(
                known,
                definition,
                budget=2 * count,
                worker=worker,
                tell=lambda ended: None,
                decider=Decider(known, definition, is_dead=known.leases.is_dead),
            )
            rests, asks, tells = [], [], []
            for _ in range(11):
                source.asking.clear()
                began = time.process_time()
                jobs = source.take(SLOTS)
                assert source.has_more()
                rests.append(time.process_time() - began - sum(source.asking))
                asks += source.asking
                began = time.process_time()
                source.finish({job.number: _result(rng) for job in jobs}, _no_member)
                tells.append((time.process_time() - began) / SLOTS)
            ask, rest, tell = (1000 * statistics.median(times) for times in (asks, rests[1:], tells))
            print(
                f"{count:6d} trials: {ask:5.1f} ms an ask, {rest:5.1f} ms else in a turn (the first "
                f"{1000 * rests[0]:.0f}), {tell:4.1f} ms to store a result; "
                f"{psutil.Process().memory_info().rss / 2**20:.0f} MB",
                flush=True,
            )


class Timed(TrialSource):
    """A source that notes the seconds that each ask takes."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.asking: list[float] = []

    def _suggest(self, number: int, given: tuple[str, dict[str, float | str]] | None) -> NewRow:
        began = time.process_time()
        row = super()._suggest(number, given)
        self.asking.append(time.process_time() - began)
        return row


def _result(rng: np.random.Generator) -> Result:
    """A training's result, as large as one of 60 epochs is."""
    rows = rng.random((60, len(CURVE_NAMES)), np.float32)
    measures = Measures(
        reconstruction=1.0,
        unexplained=rng.random(),
        elbo=-1.0,
        active_units=8,
        clip_share_low=0.0,
        clip_share_high=0.1,
        kl_mean_part=np.ones(8),
        kl_variance_part=np.ones(8),
        prior_mismatch=np.ones(8),
    )
    return Result(curves=TrainingCurves.from_rows(rows), measures={"validation": measures}, seconds=SLEEP_SECONDS)


def work(url: str, name: str, budget: int) -> None:
    """One worker."""
    result = _result(np.random.default_rng(0))
    with open_storage(url, create=False) as storage:
        study = StudyStorage.load(storage, name)
        owner = this_process()
        worker = Worker(
            owner=owner, is_dead=study.leases.is_dead, turn=lambda: study.asking.turn(owner, wait=time.sleep)
        )
        source = TrialSource(
            study,
            DEFINITION.definition,
            budget=budget,
            worker=worker,
            tell=lambda ended: None,
            decider=Decider(study, DEFINITION.definition, is_dead=study.leases.is_dead),
        )
        print("ready", flush=True)
        sys.stdin.readline()
        spent = time.process_time()
        while jobs := source.take(SLOTS):
            study.leases.say_alive(owner, {})
            time.sleep(SLEEP_SECONDS)
            source.finish({job.number: result for job in jobs}, _no_member)
        print(time.process_time() - spent)


def _no_member(number: int) -> Members:
    raise AssertionError(f"nobody asks for the member of row {number}")


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    elif sys.argv[1] == "--growth":
        grow(sys.argv[2], [int(count) for count in sys.argv[3:]] or [1000, 3000, 10_000])
    else:
        main(sys.argv[1], [int(count) for count in sys.argv[2:]] or [1, 2, 4, 8, 16])
