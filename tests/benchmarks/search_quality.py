"""How good the best trial is after so many, by sampler and by the number of trials at a time.

    python -m tests.benchmarks.search_quality [SEEDS]

TPE with 1, 8 and 32 trials at a time, and random and quasi-random search, whose suggestions do not depend on that, each
on studies of several seeds of the digits benchmark. All studies train in one population: a trial's result depends on
neither its slot nor its neighbours. Prints a table and writes build/search-quality.json.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState, create_trial

from search import quiet
from search.checkpoint import Checkpoint
from search.layout import Layout
from search.models import build_network, build_population
from search.sampling import Advisor, Suggestion
from search.seeds import trial_seed
from search.storage import Result, Run
from search.training import Job, Trainer
from search.trials import baselines_inside, judged
from studies.catalog import load_definition, override
from studies.data import load_data
from studies.definition import StudyDefinition
from tests.benchmarks import cases
from vae.curves import TrainingCurves
from vae.evaluation import Members

TRIALS = 200
MARKS = (25, 50, 100, 200)
ARMS = (("tpe", 1), ("tpe", 8), ("tpe", 32), ("random", 32), ("qmc", 32))
_POPULATION = Layout(slots=40, together=20)
_OUTPUT = Path("build/search-quality.json")


@dataclass(slots=True, eq=False)
class Search:
    """One study: a sampler with a number of trials at a time, and a seed.

    Attributes:
        definition: what is searched.
        kind: of the sampler.
        slots: trials at a time.
        seed: of the study.
        trials: in ascending number.
        best: by number of finished trials, the best score inside the band so far; infinite before there is one.
    """

    definition: StudyDefinition
    kind: str
    slots: int
    seed: int
    trials: list[FrozenTrial] = field(default_factory=list)
    best: list[float] = field(default_factory=list)

    def ask(self) -> list[tuple[int, Run]]:
        """New trials for the free slots."""
        running = sum(trial.state is TrialState.RUNNING for trial in self.trials)
        wanted = min(self.slots - running, TRIALS - len(self.trials))
        if wanted <= 0:
            return []
        advisor = Advisor(self.kind, self.definition.space.searched(), self.seed)
        advisor.learn(self.trials)
        return [self._ask_for(len(self.trials), advisor) for _ in range(wanted)]

    def _ask_for(self, number: int, advisor: Advisor) -> tuple[int, Run]:
        given = dict(enumerate(baselines_inside(self.definition)))
        suggestion = advisor.suggest(given[number][1] if number in given else None)
        self.trials.append(_trial(number, suggestion, state=TrialState.RUNNING))
        hyperparameters = self.definition.hyperparameters(suggestion.params)
        return number, Run(hyperparameters=hyperparameters, seed=trial_seed(self.seed, number), label="search")

    def tell(self, number: int, result: Result) -> None:
        """A trial's result."""
        ended, violations = judged(self.definition, "", result)
        asked = self.trials[number]
        self.trials[number] = _trial(
            number, Suggestion(asked.params, asked.distributions), value=ended.score, constraints=violations
        )
        last = self.best[-1] if self.best else float("inf")
        self.best.append(min(last, ended.score) if ended.feasible else last)


def _trial(number: int, suggestion: Suggestion, **rest: object) -> FrozenTrial:
    trial = create_trial(params=suggestion.params, distributions=suggestion.distributions, **rest)  # type: ignore[arg-type]
    trial.number = number
    return trial


class Searches:
    """All studies as one source of jobs."""

    position = -1

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = searches
        self._numbers = count()
        self._jobs: dict[int, tuple[Search, int]] = {}
        self._waiting: list[Job] = []

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """There are no checkpoints."""
        raise NotImplementedError

    def take(self, free: int) -> list[Job]:
        """What the studies ask for; those with the fewest trials at a time first, for they take the longest."""
        for search in self._searches:
            for number, run in search.ask():
                job = Job(number=next(self._numbers), run=run)
                self._jobs[job.number] = search, number
                self._waiting.append(job)
        self._waiting.sort(key=lambda job: (self._jobs[job.number][0].slots, job.number))
        taken, self._waiting = self._waiting[:free], self._waiting[free:]
        return sorted(taken, key=lambda job: job.number)

    def lost(self) -> Set[int]:
        """None: nobody else trains them."""
        return frozenset()

    def hopeless(self, epochs: Mapping[int, int], curves: Callable[[int], TrainingCurves]) -> Set[int]:
        """None."""
        del epochs, curves
        return frozenset()

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Tell each study its results."""
        del member
        for job, result in finished.items():
            search, number = self._jobs[job]
            search.tell(number, result)


def main(seeds: int) -> None:
    """Run all studies; print and write what they came to."""
    quiet.load_tensorflow(2)
    with tempfile.TemporaryDirectory() as folder:
        loaded = override(load_definition(str(cases.CASES["digits"].write(Path(folder)))))
    definition, data = loaded.definition, load_data(loaded.definition, loaded.folder)
    network = build_network(definition, data, loaded.folder)
    population = build_population(definition, network, data, _POPULATION)
    population.compile()
    searches = [Search(definition, kind, slots, seed) for kind, slots in ARMS for seed in range(seeds)]
    trainer = Trainer(population, epochs=definition.training.epochs, watch=lambda _: None, stop=lambda: False)
    trainer.train(Searches(searches))
    found = {
        f"{kind} {slots}": [search.best for search in searches if (search.kind, search.slots) == (kind, slots)]
        for kind, slots in ARMS
    }
    _OUTPUT.parent.mkdir(exist_ok=True)
    _OUTPUT.write_text(json.dumps(found), encoding="utf-8")
    print(f"best score inside the band, median of {seeds} studies (least, most)")
    for name, curves in found.items():
        row = [[curve[mark - 1] for curve in curves] for mark in MARKS]
        print(f"{name:10}", *(f"{statistics.median(v):.4f} ({min(v):.4f}, {max(v):.4f})" for v in row), sep="  ")
    print("trials:   ", *MARKS, sep="  ")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
