"""What a study may claim: its best trial, its verdict and the reasons, derived from the records alone."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrialRecord
from klsearch.studies.response import response_of
from klsearch.vae.diagnostics.gates import (
    MIN_CONFIRMATION_SEEDS,
    MIN_FINISHED_TRIALS,
    Verdict,
    verdict,
    wilson_interval,
)
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.hyperparameters import RULES

_EDGE_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference over seeds, winner − baseline, with its 95 % interval (Student's t).

    The interval speaks of training noise, not of sampling the data. One pair gives an infinite interval. A seed on
    which a side diverged has no value to subtract: it is left out and counted, and whoever tells the difference says
    so; a side that diverged more often is never called the better one.

    Attributes:
        pairs: seeds that both have.
        left_out: seeds left out because the first, and because the second, diverged there.
    """

    mean: float
    low: float
    high: float
    pairs: int
    left_out: tuple[int, int] = (0, 0)

    @property
    def first_less(self) -> bool:
        """Whether the first is surely lower, and did not diverge more often: of a measure that is better if lower."""
        return self.high < 0 and self.left_out[0] <= self.left_out[1]

    @property
    def second_less(self) -> bool:
        """The same of the second."""
        return self.low > 0 and self.left_out[1] <= self.left_out[0]

    def left_out_words(self, first: str, second: str) -> str:
        """Who diverged on how many seeds; empty where nobody did.

        >>> Difference(mean=0.0, low=-1.0, high=1.0, pairs=5, left_out=(2, 1)).left_out_words("winner", "before")
        'left out, having diverged: winner on 2 seeds and before on 1 seed'
        """
        sides = zip((first, second), self.left_out, strict=True)
        told = [f"{name} on {seeds} {'seed' if seeds == 1 else 'seeds'}" for name, seeds in sides if seeds]
        return f"left out, having diverged: {' and '.join(told)}" if told else ""


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
        edges: searched hyperparameters that keep the winner on an edge of their range, with "low" or "high"; see
            `pressed_edges`.
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
    complete = (trial for trial in trials if trial.state is RunState.COMPLETE)
    return min(complete, key=lambda trial: trial.rank, default=None)


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


# By hand, as the next one: scipy.stats would add 0.3 s to `klsearch status`, and warns where values are equal.
def paired_difference(winner: dict[int, float], baseline: dict[int, float]) -> Difference:
    """Winner − baseline over the seeds that both have; values by seed, NaN where a run diverged."""
    seeds = sorted(winner.keys() & baseline.keys())
    left_out = _left_out([winner[seed] for seed in seeds], [baseline[seed] for seed in seeds])
    values = np.array([winner[seed] - baseline[seed] for seed in seeds])
    values = values[np.isfinite(values)]
    n = values.size
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Difference(mean=mean, low=-math.inf, high=math.inf, pairs=n, left_out=left_out)
    half = student_t95(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=n, left_out=left_out)


def _left_out(first: Iterable[float], second: Iterable[float]) -> tuple[int, int]:
    return sum(not math.isfinite(value) for value in first), sum(not math.isfinite(value) for value in second)


def unpaired_difference(first: dict[int, float], second: dict[int, float]) -> Difference:
    """First − second where a seed of one has nothing to do with the same seed of the other: Welch's interval.

    Two finite values on either side give an interval; fewer an infinite one. No pairs are counted.
    """
    left_out = _left_out(first.values(), second.values())
    sides = [np.array([value for value in side.values() if math.isfinite(value)]) for side in (first, second)]
    if not all(side.size for side in sides):
        return Difference(mean=math.nan, low=-math.inf, high=math.inf, pairs=0, left_out=left_out)
    mean = float(np.mean(sides[0]) - np.mean(sides[1]))
    if min(side.size for side in sides) < 2:
        return Difference(mean=mean, low=-math.inf, high=math.inf, pairs=0, left_out=left_out)
    errors = [float(np.var(side, ddof=1)) / side.size for side in sides]
    half = 0.0
    if sum(errors) > 0:
        parts = (error**2 / (side.size - 1) for error, side in zip(errors, sides, strict=True))
        half = student_t95(sum(errors) ** 2 / sum(parts)) * math.sqrt(sum(errors))
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=0, left_out=left_out)


def student_t95(degrees: float) -> float:
    """The two-sided 95 % quantile of Student's t.

    >>> round(student_t95(7), 3)
    2.365
    """
    from scipy.special import stdtrit  # 0.2 s, for which `klsearch list` must not wait

    return float(stdtrit(degrees, 0.975))


def unexplained_on_test(runs: tuple[ConfirmationRun, ...]) -> dict[int, float]:
    """`unexplained` on the test split by seed; see `on_test`."""
    return on_test(runs, lambda measures: measures.unexplained)


def on_test(runs: tuple[ConfirmationRun, ...], read: Callable[[Measures], float]) -> dict[int, float]:
    """One number on the test split by seed: NaN where the run diverged; no entry where it is not scored yet."""
    return {
        run.seed: read(run.test) if run.test is not None else math.nan
        for run in runs
        if run.test is not None or run.measures is None
    }


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


def pressed_edges(study: StudyRecord, trial: TrialRecord) -> tuple[tuple[str, str], ...]:
    """The edges on which a trial lies and which matter there, as the model of all trials has it.

    One is left out where the model sees neither `unexplained` improve towards it nor the KL depend on it near an end of
    the band; see `Response.presses`. Where there are too few trials for a model, every edge counts.
    """
    found = edges(study, trial)
    model = response_of(study) if found else None
    if model is None:
        return found
    values = {name: getattr(trial.hyperparameters, name) for name in model.ranges}
    return tuple((name, side) for name, side in found if model.presses(values, name, side))


def ties(study: StudyRecord, baseline: str) -> bool:
    """Whether a baseline does as well as the winner.

    It passes the gates on as many seeds, one at least, and the 95 % interval of the paired difference in
    `unexplained` on the test split does not lie wholly on the winner's side, or the winner diverged on more of these
    seeds.
    """
    winner, other = runs_of(study, "winner"), runs_of(study, baseline)
    if sum(run.passed for run in other) < max(1, sum(run.passed for run in winner)):
        return False
    return not paired_difference(unexplained_on_test(winner), unexplained_on_test(other)).first_less


def beats(study: StudyRecord, baseline: str) -> bool:
    """Whether a baseline ties, and that interval lies wholly on its own side."""
    winner, other = (unexplained_on_test(runs_of(study, who)) for who in ("winner", baseline))
    return ties(study, baseline) and paired_difference(winner, other).second_less


def summarize(study: StudyRecord) -> Summary:
    """The study's verdict, with its reasons."""
    confirmed = runs_of(study, "winner")
    best = next((t for t in study.trials if t.number == study.winner), None) or best_trial(study.trials)
    passed, seeds = sum(run.passed for run in confirmed), len(confirmed)
    edge = pressed_edges(study, best) if best is not None else ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SinceConfirmed:
    """What finished after the winner was confirmed.

    Attributes:
        trials: how many trials.
        better: the best of them, if it scores better than the winner did in the search.
        sentence: that, and how to confirm anew.
    """

    trials: int
    better: int | None
    sentence: str


def since_confirmed(study: StudyRecord) -> SinceConfirmed | None:
    """What finished since the winner was confirmed; None where nothing did, or nothing is confirmed."""
    winner = next((trial for trial in study.trials if trial.number == study.winner), None)
    later = _later(study)
    if winner is None or not later:
        return None
    best = best_trial((winner, *later))
    better = best if best is not winner else None
    found = "none of them scores better" if better is None else f"trial {better.number} scores better"
    if better is not None and better.feasible == winner.feasible:
        found += f" ({better.score:.4g} against {winner.score:.4g})"
    more = "1 more trial" if len(later) == 1 else f"{len(later)} more trials"
    text = f"The winner, trial {winner.number}, was confirmed before {more} finished; {found}."
    command = study.resume_command
    if len(study.counted) >= study.definition.study.trials:
        command = command.replace("klsearch resume", "klsearch confirm", 1)
    way = f" Confirm anew with `{command}`." if command else ""
    return SinceConfirmed(trials=len(later), better=None if better is None else better.number, sentence=f"{text}{way}")


def _later(study: StudyRecord) -> list[TrialRecord]:
    """The trials that finished after the winner was chosen, by number or, of the first release, by the clock."""
    ended = sorted((t for t in study.finished if t.ended is not None), key=lambda t: (t.ended, t.number))
    if study.confirmed_among is not None:
        return ended[study.confirmed_among :]
    last = max((run.started for run in study.confirmation if run.started is not None), default=None)
    return [trial for trial in ended if trial.ended is not None and last is not None and trial.ended > last]


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
