"""The search as a source of jobs: takes up what was left running, then asks for new trials until the budget is met."""

import math
from collections.abc import Callable, Mapping

from optuna.trial import TrialState

from search.owner import Owner
from search.progress import Ended
from search.sampling import Advisor
from search.score import constraints, score
from search.seeds import trial_seed
from search.storage import FINISHED, Result, Row, Run, StudyStorage
from search.training import Job
from studies.definition import StudyDefinition
from studies.space import Range
from vae.diagnostics import final_kl, judge
from vae.hyperparameters import Hyperparameters


class TrialSource:
    """Trials of one study for one worker.

    Args:
        storage: the study.
        definition: what is searched, scored and judged.
        budget: finished trials in the study in all.
        owner: this worker.
        is_dead: whether another worker no longer trains.
        told: is told of each trial after its result was stored.
    """

    def __init__(
        self,
        storage: StudyStorage,
        definition: StudyDefinition,
        *,
        budget: int,
        owner: Owner,
        is_dead: Callable[[Owner], bool],
        told: Callable[[Ended], None],
    ) -> None:
        self._storage = storage
        self._definition = definition
        self._budget = budget
        self._owner = owner
        self._is_dead = is_dead
        self._told = told
        ranges = definition.space.searched()
        self._advisor = Advisor(definition.study.sampler, ranges, definition.study.seed)
        self._given = baselines_inside(definition)
        self._mine: set[int] = set()

    def take(self, free: int) -> list[Job]:
        """Trials that a dead worker left, then new ones as far as the budget allows."""
        trials = self._storage.trials()
        left = self._left_running()
        counted = sum(trial.state in FINISHED or trial.state is TrialState.RUNNING for trial in trials) - len(left)
        wanted = min(free, self._budget - counted)
        jobs = [self._take_up(row) for row in left[: max(0, wanted)]]
        if wanted > len(left):
            self._advisor.learn(trials)
            jobs += [self._ask(len(trials) + index) for index in range(wanted - len(left))]
        self._mine |= {job.number for job in jobs}
        return jobs

    def finish(self, finished: Mapping[int, Result], slots: Mapping[int, int]) -> None:
        """Score and store results, in ascending number."""
        del slots
        for number, result in finished.items():
            self._told(finish(self._storage, self._definition, number, f"trial {number}", result))

    def _left_running(self) -> list[Row]:
        """Rows that nobody trains any more."""
        rows = [row for row in self._storage.running() if row.number not in self._mine]
        return [row for row in rows if row.owner == self._owner or self._is_dead(row.owner)]

    def _take_up(self, row: Row) -> Job:
        self._storage.take_over(row.number, self._owner)
        return Job(number=row.number, run=row.run)

    def _ask(self, number: int) -> Job:
        given = self._given[number] if number < len(self._given) else None
        suggestion = self._advisor.suggest(None if given is None else given[1])
        run = Run(
            hyperparameters=self._definition.hyperparameters(suggestion.params),
            seed=trial_seed(self._definition.study.seed, number),
            label="search" if given is None else given[0],
        )
        number = self._storage.create_row(
            run, self._owner, params=suggestion.params, distributions=suggestion.distributions
        )
        return Job(number=number, run=run)


def finish(rows: StudyStorage, definition: StudyDefinition, number: int, label: str, result: Result) -> Ended:
    """Judge a training on the validation split, score it and store it; a diverged one scores the worst there is."""
    study, thresholds, measures = definition.study, definition.thresholds(), result.measures.get("validation")
    unexplained = kl = math.nan
    if measures is not None:
        unexplained = measures.unexplained
        kl = thresholds.banded_kl(final_kl(result.curves, thresholds.window), measures.latent_dim)
    violations = constraints(judge(result.curves, measures, thresholds))
    value = score(unexplained=unexplained, kl=kl, band=study.kl_band, penalty=study.penalty)
    rows.finish_row(number, result, score=value, constraints=violations)
    return Ended(label=label, score=value, kl=kl, feasible=all(violation <= 0 for violation in violations.values()))


def baselines_inside(definition: StudyDefinition) -> list[tuple[str, dict[str, float]]]:
    """The baselines that lie inside the search space, by name with their searched values: the first trials."""
    space, annealable = definition.space, definition.training.epochs - definition.gates.window
    inside = []
    for name, settings in definition.baseline_hyperparameters().items():
        values = {key: getattr(settings, key) for key in space.searched()}
        fits = all(_contains(range_, values[key]) for key, range_ in space.searched().items())
        if fits and settings.annealing_epochs <= annealable and _agrees(definition, settings, values):
            inside.append((name, values))
    return inside


def _contains(range_: Range, value: float) -> bool:
    return range_.low <= value <= range_.high


def _agrees(definition: StudyDefinition, settings: Hyperparameters, values: Mapping[str, float]) -> bool:
    """Whether a baseline also has the numbers that the space holds fixed."""
    return definition.hyperparameters(values) == settings
