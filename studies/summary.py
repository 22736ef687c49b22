"""What a study may claim: its best trial, its verdict and the reasons, derived from the records alone."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from klsearch.studies.record import ConfirmationRun, StudyRecord, TrialRecord, TrialState
from klsearch.vae.diagnostics.gates import (
    MIN_CONFIRMATION_SEEDS,
    MIN_FINISHED_TRIALS,
    Verdict,
    verdict,
    wilson_interval,
)
from klsearch.vae.hyperparameters import RULES

_EDGE_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference over seeds, winner − baseline, with its 95 % interval (Student's t).

    The interval speaks of training noise, not of sampling the data. One pair gives an infinite interval.
    """

    mean: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the study says of itself.

    Attributes:
        verdict: the word.
        sentence: why, in one sentence with its numbers.
        best: the confirmed winner, else the best trial so far; None without a finished trial.
        passed: confirmation seeds of the winner that pass all gates.
        seeds: confirmation seeds of the winner.
        interval: Wilson's 95 % interval of the pass rate.
        caveats: what keeps a confirmed winner from being called stable without reserve.
        edges: searched hyperparameters whose winning value lies on an edge of its range, with "low" or "high".
    """

    verdict: Verdict
    sentence: str
    best: TrialRecord | None
    passed: int
    seeds: int
    interval: tuple[float, float]
    caveats: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]


def best_trial(trials: tuple[TrialRecord, ...]) -> TrialRecord | None:
    """The feasible complete trial of the lowest score; without a feasible one, the least violating."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    feasible = [trial for trial in complete if trial.feasible]
    if feasible:
        return min(feasible, key=lambda trial: (trial.score, trial.number))
    return min(complete, key=lambda trial: (trial.violation, trial.score, trial.number), default=None)


def runs_of(study: StudyRecord, candidate: str) -> tuple[ConfirmationRun, ...]:
    """The finished confirmation runs of "winner" or of a baseline, in ascending seed."""
    if candidate == "winner":
        chosen = [run for run in study.confirmed if run.trial is not None and run.trial == study.winner]
    else:
        chosen = [run for run in study.confirmed if run.trial is None and run.candidate == candidate]
    return tuple(sorted(chosen, key=lambda run: run.seed))


def baseline_names(study: StudyRecord) -> tuple[str, ...]:
    """Names of the baselines with a finished confirmation run, in the order in which they were trained."""
    return tuple(dict.fromkeys(run.candidate for run in study.confirmed if run.trial is None))


def paired_difference(winner: dict[int, float], baseline: dict[int, float]) -> Difference:
    """Winner − baseline over the seeds that both have; values by seed, NaN left out."""
    values = np.array([winner[seed] - baseline[seed] for seed in sorted(winner.keys() & baseline.keys())])
    values = values[np.isfinite(values)]
    n = values.size
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Difference(mean=mean, low=-math.inf, high=math.inf, pairs=n)
    half = student_t95(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=n)


def unpaired_difference(first: dict[int, float], second: dict[int, float]) -> Difference:
    """First − second where a seed of one has nothing to do with the same seed of the other: Welch's interval.

    Two finite values on either side give an interval; fewer an infinite one. No pairs are counted.
    """
    sides = [np.array([value for value in side.values() if math.isfinite(value)]) for side in (first, second)]
    if not all(side.size for side in sides):
        return Difference(mean=math.nan, low=-math.inf, high=math.inf, pairs=0)
    mean = float(np.mean(sides[0]) - np.mean(sides[1]))
    if min(side.size for side in sides) < 2:
        return Difference(mean=mean, low=-math.inf, high=math.inf, pairs=0)
    errors = [float(np.var(side, ddof=1)) / side.size for side in sides]
    half = 0.0
    if sum(errors) > 0:
        parts = (error**2 / (side.size - 1) for error, side in zip(errors, sides, strict=True))
        half = student_t95(sum(errors) ** 2 / sum(parts)) * math.sqrt(sum(errors))
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=0)


def student_t95(degrees: float) -> float:
    """The two-sided 95 % quantile of Student's t.

    >>> round(student_t95(7), 3)
    2.365
    """
    return float(stdtrit(degrees, 0.975))


def unexplained_on_test(runs: tuple[ConfirmationRun, ...]) -> dict[int, float]:
    """`unexplained` on the test split by seed; NaN where the run has none."""
    return {run.seed: run.test.unexplained if run.test is not None else math.nan for run in runs}


def edges(study: StudyRecord, trial: TrialRecord) -> tuple[tuple[str, str], ...]:
    """Searched hyperparameters within 2 % of their range (on its own scale) of an edge that could be widened."""
    found = []
    for name, space in study.definition.space.searched().items():
        scale = math.log if space.log else float
        low, high, value = scale(space.low), scale(space.high), scale(getattr(trial.hyperparameters, name))
        share = (value - low) / (high - low)
        # Below the least there is nothing: a winner without annealing or dropout lies on no edge to be widened.
        if share <= _EDGE_SHARE and space.low > RULES[name].least:
            found.append((name, "low"))
        elif share >= 1 - _EDGE_SHARE:
            found.append((name, "high"))
    return tuple(found)


def ties(study: StudyRecord, baseline: str) -> bool:
    """Whether a baseline does as well as the winner.

    It passes the gates on as many seeds, one at least, and the 95 % interval of the paired difference in
    `unexplained` on the test split does not lie wholly on the winner's side.
    """
    winner, other = runs_of(study, "winner"), runs_of(study, baseline)
    if sum(run.passed for run in other) < max(1, sum(run.passed for run in winner)):
        return False
    return not paired_difference(unexplained_on_test(winner), unexplained_on_test(other)).high < 0


def beats(study: StudyRecord, baseline: str) -> bool:
    """Whether a baseline ties, and that interval lies wholly on its own side."""
    winner, other = (unexplained_on_test(runs_of(study, who)) for who in ("winner", baseline))
    return ties(study, baseline) and paired_difference(winner, other).low > 0


def summarize(study: StudyRecord) -> Summary:
    """The study's verdict, with its reasons."""
    confirmed = runs_of(study, "winner")
    best = next((t for t in study.trials if t.number == study.winner), None) or best_trial(study.trials)
    passed, seeds = sum(run.passed for run in confirmed), len(confirmed)
    edge = edges(study, best) if best is not None else ()
    caveats = tuple(f"{name} lies on the {side} edge of its range" for name, side in edge)
    if confirmed:
        caveats += tuple(
            f"baseline {name} does {'better' if beats(study, name) else 'as well'}"
            for name in baseline_names(study)
            if ties(study, name)
        )
    word = verdict(passed, seeds, finished_trials=len(study.counted), caveats=caveats)
    return Summary(
        verdict=word,
        sentence=_sentence(study, word, best, passed, seeds, caveats),
        best=best,
        passed=passed,
        seeds=seeds,
        interval=wilson_interval(passed, seeds),
        caveats=caveats,
        edges=edge,
    )


def _sentence(
    study: StudyRecord, word: Verdict, best: TrialRecord | None, passed: int, seeds: int, caveats: tuple[str, ...]
) -> str:
    """Why the verdict is what it is."""
    finished = len(study.counted)
    if best is None:
        if study.finished:
            return f"None of {len(study.finished)} finished trials was trained to its end."
        return f"No trial has finished yet ({len(study.trials)} started)."
    if word is Verdict.NOT_ENOUGH_EVIDENCE:
        if finished < MIN_FINISHED_TRIALS:
            earlier = len(study.finished) - finished
            beside = f" beside {earlier} of an earlier study" if earlier else ""
            trials = "trial has" if finished == 1 else "trials have"
            return f"Only {finished} {trials} finished{beside}; {MIN_FINISHED_TRIALS} are needed to judge."
        return f"Trial {best.number} leads, confirmed on {seeds} fresh seeds; {MIN_CONFIRMATION_SEEDS} are needed."
    low, high = wilson_interval(passed, seeds)
    text = (
        f"Trial {best.number}: {passed} of {seeds} fresh seeds pass all gates (95 % interval {low:.2f} to {high:.2f})"
    )
    if not caveats:
        return f"{text}."
    return f"{text}, {'but' if word is Verdict.CAVEATS else 'and'} {'; '.join(caveats)}."
