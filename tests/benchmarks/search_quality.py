"""How good the best trial is after so many, by sampler, by the number of trials at a time, and by pruner.

    python -m tests.benchmarks.search_quality [digits|clothes] [SEEDS]
    python -m tests.benchmarks.search_quality plot JSON PICTURE

On digits: TPE with 1, 8 and 32 trials at a time, random and quasi-random search, whose suggestions do not depend on
that, and TPE with a pruner. On Fashion-MNIST (6,000 rows): TPE with and without a pruner. Each on studies of several
seeds. All studies train in one population: a trial's result depends on neither its slot nor its neighbours. Prints a
table, and after how many trials --until-converged would have ended each study. Writes build/search-quality-NAME.json:
by arm and seed, the best score inside the band and the epochs trained after each trial, and when it had converged.
"""

import json
import math
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import count, cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.storages import InMemoryStorage

from klsearch.search.layout import Layout
from klsearch.search.progress import EndedTraining
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Result
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.models import build_network, build_population
from klsearch.search.training.tensorflow import load_tensorflow, take_this_process
from klsearch.search.training.trainer import Job, Source, Trainer
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.source import TrialSource
from klsearch.studies.definitions.catalog import LoadedDefinition, load_definition, override
from klsearch.studies.definitions.data import load_data
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.evaluation.evaluator import Members
from tests.benchmarks import cases
from tests.benchmarks.bare import bare_study

_OUTPUT = Path("build")


class Arm(NamedTuple):
    """A sampler with a number of trials at a time, and a pruner."""

    sampler: str
    slots: int
    pruner: str = "none"

    def __str__(self) -> str:
        pruned = "" if self.pruner == "none" else f", {self.pruner} pruner"
        return f"{self.sampler}, {self.slots} at a time{pruned}"


class Plan(NamedTuple):
    """What is compared on one data set: arms, trials of each study, after how many to look, and the population."""

    arms: tuple[Arm, ...]
    trials: int
    marks: tuple[int, ...]
    layout: Layout
    rows: int | None = None


PLANS = {
    "digits": Plan(
        arms=(Arm("tpe", 1), Arm("tpe", 8), Arm("tpe", 32), Arm("random", 32), Arm("qmc", 32), Arm("tpe", 8, "median")),
        trials=200,
        marks=(50, 100, 200),
        layout=Layout(slots=40, together=20),
    ),
    "clothes": Plan(
        arms=(Arm("tpe", 8), Arm("tpe", 8, "median")),
        trials=40,
        marks=(20, 40),
        layout=Layout(slots=10, together=1),
        rows=6000,
    ),
}


class Search:
    """One study, in a storage of its own.

    Args:
        loaded: what is searched.
        arm: how.
        seed: of the study.
        budget: its trials.

    Attributes:
        best: by number of finished trials, the best score inside the band so far; infinite before there is one.
        epochs: by number of finished trials, those that all of them were trained for.
        converged: after how many finished trials more search no longer paid; None while it does.
    """

    def __init__(self, loaded: LoadedDefinition, arm: Arm, seed: int, budget: int) -> None:
        self.arm = arm
        self.best: list[float] = []
        self.epochs: list[int] = []
        self.converged: int | None = None
        loaded = override(loaded, sampler=arm.sampler, pruner=arm.pruner, seed=seed)
        self._definition = loaded.definition
        self._study = bare_study(InMemoryStorage(), loaded)
        self._decider = Decider(self._study, self._definition)
        self._source = TrialSource(
            self._study, self._definition, budget=budget, worker=Worker(owner=this_process()), tell=self._judged
        )
        self._running = 0

    def take(self) -> list[Job]:
        """New trials, as many as may be trained at a time."""
        jobs = self._source.take(self.arm.slots - self._running)
        self._running += len(jobs)
        return jobs

    def is_hopeless(self, number: int, curves: TrainingCurves) -> bool:
        """Whether a trial that has come so far is ended now."""
        return number in self._source.find_hopeless({number: curves.epochs}, lambda _: curves)

    def finish(self, number: int, result: Result, member: Callable[[int], Members]) -> None:
        """A trial's result."""
        self._running -= 1
        self._source.finish({number: result}, member)
        self.epochs.append(result.curves.epochs + (self.epochs[-1] if self.epochs else 0))
        decision = self._decider.decide()
        if self.converged is None and decision is not None and decision.reached:
            self.converged = len(self.best)

    def _judged(self, ended: EndedTraining) -> None:
        score = ended.rank.score if ended.rank.feasible else math.inf
        self.best.append(min([*self.best[-1:], score]))


class Searches(Source):
    """All studies as one source of jobs."""

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = searches
        self._numbers = count()
        self._jobs: dict[int, tuple[Search, int]] = {}
        self._waiting: list[Job] = []

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """None: no checkpoint is kept."""
        del checkpoint
        return {}

    def take(self, free: int) -> list[Job]:
        """What the studies ask for; those with the fewest trials at a time first, for they take the longest."""
        for search in self._searches:
            for trial in search.take():
                job = replace(trial, number=next(self._numbers))
                self._jobs[job.number] = search, trial.number
                self._waiting.append(job)
        self._waiting.sort(key=lambda job: (self._jobs[job.number][0].arm.slots, job.number))
        taken, self._waiting = self._waiting[:free], self._waiting[free:]
        return sorted(taken, key=lambda job: job.number)

    def find_lost(self) -> Set[int]:
        """None: nobody else trains them."""
        return frozenset()

    def find_hopeless(self, epochs: Mapping[int, int], curves: Callable[[int], TrainingCurves]) -> Set[int]:
        """What the studies' pruners end."""
        return {number for number in epochs if self._hopeless(number, curves(number))}

    def _hopeless(self, number: int, curves: TrainingCurves) -> bool:
        search, trial = self._jobs[number]
        return search.is_hopeless(trial, curves)

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Tell each study its results."""
        for job, result in finished.items():
            search, number = self._jobs[job]
            search.finish(number, result, member)


def main(name: str, seeds: int) -> None:
    """Run all studies; print and write what they came to."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    take_this_process()
    load_tensorflow()
    plan = PLANS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = cases.CASES[name].write(Path(folder))
        if plan.rows is not None:
            text = re.sub("(?m)^rows = .*$", f"rows = {plan.rows}", path.read_text(encoding="utf-8"))
            path.write_text(text, encoding="utf-8")
        loaded = override(load_definition(str(path)))
    definition, data = loaded.definition, load_data(loaded.definition, loaded.folder)
    network = build_network(definition, data, loaded.folder)
    population = build_population(definition, network, data, plan.layout)
    population.compile()
    searches = [Search(loaded, arm, seed, plan.trials) for arm in plan.arms for seed in range(seeds)]
    trainer = Trainer(population, epochs=definition.training.epochs, watch=lambda _: None, stop=lambda: False)
    trainer.train(Searches(searches))
    found: dict[str, list[dict[str, Any]]] = {
        str(arm): [
            {"best": search.best, "epochs": search.epochs, "converged": search.converged}
            for search in searches
            if search.arm == arm
        ]
        for arm in plan.arms
    }
    _OUTPUT.mkdir(exist_ok=True)
    (_OUTPUT / f"search-quality-{name}.json").write_text(json.dumps(found), encoding="utf-8")
    print(f"Best score inside the band, median of {seeds} studies (least, most), after {plan.marks} trials:")
    for arm, studies in found.items():
        scores = [[study["best"][mark - 1] for study in studies] for mark in plan.marks]
        spread = [f"{statistics.median(row):.4f} ({min(row):.4f}, {max(row):.4f})" for row in scores]
        epochs = statistics.median(study["epochs"][-1] for study in studies)
        print(f"{arm:32}", *spread, f"epochs: {epochs:g}", sep="  ")
    print("Converged after so many trials, with a best score so far above that of all:")
    for arm, studies in found.items():
        ended = [(study["converged"], study["best"]) for study in studies if study["converged"]]
        print(f"{arm:32}", *(f"{after} (+{best[after - 1] - best[-1]:.3f})" for after, best in ended), sep="  ")


def plot(source: Path, picture: Path) -> None:
    """Draw the median over studies of the best score so far, for each arm."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "search quality"  # the same bytes each time
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    styles = cycle(["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))])
    for (arm, studies), style in zip(json.loads(source.read_text(encoding="utf-8")).items(), styles, strict=False):
        best = np.median([study["best"] for study in studies], axis=0)
        axes.plot(np.arange(1, len(best) + 1), best, linestyle=style, label=arm)
    axes.set(xlabel="finished trials", ylabel="best score in the band", xlim=(0, None))
    # Of the first trials only the outcome of chance could be seen.
    axes.set_ylim(axes.get_ylim()[0], np.median([study["best"][19] for study in studies]) * 1.1)
    axes.legend(title=f"median of {len(studies)} studies", frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["plot"]:
        plot(Path(arguments[1]), Path(arguments[2]))
    else:
        main(arguments[0] if arguments else "digits", int(arguments[1]) if len(arguments) > 1 else 5)
