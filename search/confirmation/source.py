"""Leading trials and baselines on fresh seeds: who wins on validation, and what the test split says of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import TrialState

from klsearch.search.seeds import confirmation_seed
from klsearch.search.storage.rows import Result, Row, Run, one_of_each, trial_label
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.trainer import Job, UnsharedSource
from klsearch.search.training.worker import Worker
from klsearch.search.trials.judging import finish
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import Method
from klsearch.studies.record import RunState, TrialRecord
from klsearch.studies.summary import paired_difference
from klsearch.vae.diagnostics.gates import final_kl, judge
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import Hyperparameters

# Of whom pictures are kept: more would make the report large.
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A leading trial or a baseline to be confirmed.

    Attributes:
        label: "trial 37", or the baseline's name.
        hyperparameters: its settings.
        is_baseline: whether it is scored on the test split whoever wins.
        method: by which a baseline weighs the KL; None where its settings do.
    """

    label: str
    hyperparameters: Hyperparameters
    is_baseline: bool
    method: Method | None = None


def candidates(definition: StudyDefinition, trials: Sequence[TrialRecord]) -> list[Candidate]:
    """The study's leading trials, best first, then its baselines. No finished trial gives none."""
    complete = [trial for trial in trials if trial.state is RunState.COMPLETE]
    ranked = sorted(complete, key=lambda trial: trial.rank)
    leading = [
        Candidate(label=trial_label(trial.number), hyperparameters=trial.hyperparameters, is_baseline=False)
        for trial in ranked[: definition.confirmation.top]
    ]
    baselines = [
        Candidate(label=name, hyperparameters=settings, is_baseline=True, method=definition.baseline_method(name))
        for name, settings in definition.baseline_hyperparameters().items()
    ]
    return [*leading, *baselines] if leading else []


class ConfirmationSource(UnsharedSource):
    """Every candidate on every fresh seed, as a source of jobs; what an earlier process finished is kept.

    No job is taken over: whoever else confirms now trains the same to the same result, of which one counts.
    Members are kept until it is known whom the test split is to score.
    """

    def __init__(
        self,
        rows: StudyStorage,
        definition: StudyDefinition,
        chosen: Sequence[Candidate],
        *,
        worker: Worker,
        keep: Callable[[Run, Members], None],
        tell: Callable[[None], None],
    ) -> None:
        self._rows = rows
        self._definition = definition
        self._worker = worker
        self._tell = tell
        self._keep = keep
        self._runs: dict[int, Run] = {}
        wanted = [
            Run(
                hyperparameters=candidate.hyperparameters,
                seed=confirmation_seed(definition.study.seed, index),
                label=candidate.label,
                method=candidate.method,
            )
            for candidate in chosen
            for index in range(definition.confirmation.seeds)
        ]
        known = {row.run: row for row in one_of_each(rows.rows()) if row.state is not TrialState.FAIL}
        there = [known[run] for run in wanted if run in known]
        self._left = [Job(number=row.number, run=row.run) for row in there if row.result is None]
        self._pending = [run for run in wanted if run not in known]
        self.remaining = len(self._left) + len(self._pending)

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """The jobs of a checkpoint that are wanted and not finished."""
        left = {job.number: job for job in self._left}
        jobs = {slot: left[number] for slot, number in checkpoint.numbers.items() if number in left}
        self._left = [job for job in self._left if job not in jobs.values()]
        self._claim(list(jobs.values()))
        return jobs

    def take(self, free: int) -> list[Job]:
        """The rows that were left running, then new ones."""
        left, self._left = self._left[:free], self._left[free:]
        self._claim(left)
        runs, self._pending = self._pending[: free - len(left)], self._pending[free - len(left) :]
        new = [Job(number=self._rows.create_row(run, self._worker.owner), run=run) for run in runs]
        self._runs |= {job.number: job.run for job in new}
        return left + new

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Judge, score and store results, and keep the members."""
        for number, result in finished.items():
            run = self._runs[number]
            if result.measures:  # else it diverged
                self._keep(run, member(number))  # before its row is finished, lest a kill in between forgets it
            if finish(self._rows, self._definition, number, run.label, result, owner=self._worker.owner) is not None:
                self._tell(None)  # the best of many seeds leads nothing

    def _claim(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._rows.take_over(job.number, self._worker.owner, course=self._worker.course)
        self._runs |= {job.number: job.run for job in jobs}


def rows_to_show(rows: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """A row of each label, all of one seed: the first on which the first label did not diverge; at most five.

    A label that diverged on that seed is left out.
    """
    measured = [row for row in rows if row.result is not None and row.result.measures]
    seed = next((row.run.seed for row in measured if row.run.label == labels[0]), None)
    shown = {row.run.label: row for row in measured if row.run.seed == seed}
    return [shown[label] for label in labels if label in shown][:_MOST_SHOWN]


def choose_winner(definition: StudyDefinition, rows: Sequence[Row], labels: Sequence[str]) -> str:
    """The label of the leading trial that wins, on validation alone.

    Most seeds passing all gates, then the lowest mean score. Among those whose score does not differ from the lowest
    beyond seed noise (the 95 % interval of the paired difference holds 0), the one whose KL stays farthest from the
    band's edges.
    """
    standings = {label: _standing(definition, [row for row in rows if row.run.label == label]) for label in labels}
    most = max(standing.passed for standing in standings.values())
    leading = {label: standing for label, standing in standings.items() if standing.passed == most}
    first = min(leading.values(), key=lambda standing: standing.mean_score)
    level = {label: standing for label, standing in leading.items() if _is_level(standing, first)}
    return max(level, key=lambda label: level[label].margin)


@dataclass(frozen=True, slots=True)
class _Standing:
    """The standing of a leading trial: seeds passed, score by seed, KL's mean distance from the band's edges."""

    passed: int
    scores: dict[int, float]
    margin: float

    @property
    def mean_score(self) -> float:
        return float(np.mean(list(self.scores.values())))


def _standing(definition: StudyDefinition, rows: Sequence[Row]) -> _Standing:
    thresholds = definition.thresholds()
    low, high = thresholds.kl_band
    passed, margins = 0, []
    for row in rows:
        if row.result is None or "validation" not in row.result.measures:
            margins.append(-math.inf)
            continue
        measures = row.result.measures["validation"]
        kl = thresholds.banded_kl(final_kl(row.result.curves, thresholds.window), measures.latent_dim)
        passed += all(gate.passed for gate in judge(row.result.curves, measures, thresholds))
        margins.append(min(kl - low, high - kl))
    return _Standing(passed, {row.run.seed: row.score for row in rows}, float(np.mean(margins)))


def _is_level(standing: _Standing, first: _Standing) -> bool:
    if standing is first:
        return True
    return paired_difference(standing.scores, first.scores).low <= 0
