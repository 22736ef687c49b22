"""The candidates that the report compares: the winner and the baselines, each with its runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from klsearch.reports.wording import count
from klsearch.studies.record import StudyRecord, TrainingRun
from klsearch.studies.verdict.candidates import baseline_names, best_trial, runs_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateRuns:
    """Settings that the report shows beside others.

    Attributes:
        name: "winner" or "best so far", a baseline's name, or "trial 17" for a leading trial that did not win.
        label: the same with the trial's number where there is one, and on how many of several seeds it diverged.
        runs: its trainings, one per seed.
    """

    name: str
    label: str
    runs: tuple[TrainingRun, ...]

    @property
    def passed(self) -> int:
        """Runs that pass every gate."""
        return sum(run.passed for run in self.runs)

    @property
    def diverged(self) -> int:
        """Runs without final measures, which no median can count."""
        return count_diverged(self.runs)

    def values(self, read: Callable[[TrainingRun], float]) -> np.ndarray:
        """One number of every run, shape [runs]; only finite ones count, the rest is NaN."""
        values = np.array([read(run) for run in self.runs], dtype=float)
        return np.where(np.isfinite(values), values, np.nan)

    def median(self, read: Callable[[TrainingRun], float]) -> float:
        """The median of one number over the runs that have it; NaN where none has.

        Who tells it says how many diverged (`label`) and that they are left out (`seeds_words`).
        """
        values = self.values(read)
        values = values[np.isfinite(values)]
        return float(np.median(values)) if values.size else math.nan


def count_diverged(runs: Sequence[TrainingRun]) -> int:
    """Count the runs that ended without measures of their last weights."""
    return sum(run.measures is None or not math.isfinite(run.kl) for run in runs)


def seeds_words(candidates: Sequence[CandidateRuns]) -> str:
    """Over which seeds medians of these candidates are taken."""
    several = any(one.diverged for one in candidates if len(one.runs) > 1)
    return "the seeds that did not diverge" if several else "the seeds"


def candidate_label(name: str, runs: Sequence[TrainingRun], *, trial: int | None = None) -> str:
    """A candidate's name for readers: with its trial, and on how many of several seeds it diverged."""
    lost = count_diverged(runs) if len(runs) > 1 else 0
    notes = [f"trial {trial}"] if trial is not None else []
    notes += [f"{lost} of {count(len(runs), 'seed')} diverged"] if lost else []
    return f"{name} ({', '.join(notes)})" if notes else name


def compared_candidates(study: StudyRecord) -> tuple[CandidateRuns, ...]:
    """The winner, then every baseline, over their confirmation seeds.

    Before the confirmation: the best trial so far, then the trials that repeat a baseline's settings, one run each.
    Empty without a finished trial.
    """
    if study.winner is not None and runs_of(study, "winner"):
        runs = runs_of(study, "winner")
        winner = CandidateRuns(name="winner", label=candidate_label("winner", runs, trial=study.winner), runs=runs)
        baselines = ((name, runs_of(study, name)) for name in baseline_names(study))
        return winner, *(
            CandidateRuns(name=name, label=candidate_label(name, runs), runs=runs) for name, runs in baselines
        )
    best = best_trial(study.trials)
    if best is None:
        return ()
    leader = CandidateRuns(name="best so far", label=f"best so far (trial {best.number})", runs=(best,))
    names = study.definition.baseline_names()
    repeats = (t for t in study.complete if t.origin in names and not t.warm_start and t is not best)
    return leader, *(CandidateRuns(name=t.origin, label=f"{t.origin} (trial {t.number})", runs=(t,)) for t in repeats)


def confirmed_candidates(study: StudyRecord) -> tuple[CandidateRuns, ...]:
    """Everyone that was confirmed: the winner, the other leading trials, then the baselines."""
    everyone = compared_candidates(study) if study.confirmed else ()
    others = dict.fromkeys(run.candidate for run in study.confirmed if run.trial not in (None, study.winner))
    runs = {name: tuple(run for run in study.confirmed if run.candidate == name) for name in others}
    leading = tuple(
        CandidateRuns(name=name, label=candidate_label(name, runs[name]), runs=runs[name]) for name in others
    )
    return (*everyone[:1], *leading, *everyone[1:]) if study.winner is not None else leading
