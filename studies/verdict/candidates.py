"""The leading trial, the winner and the baselines: their runs, and which of them does better."""

import math
from collections.abc import Callable

from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrainingRun, TrialRecord
from klsearch.studies.verdict.differences import Difference, paired_difference
from klsearch.vae.diagnostics.measures import Measures


def best_trial(trials: tuple[TrialRecord, ...]) -> TrialRecord | None:
    """The complete trial that comes first by `studies.ranking`; None without one."""
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


def reconstruction_difference(study: StudyRecord, baseline: str) -> Difference:
    """Winner less baseline in ln `unexplained` on the test split, paired by seed.

    Every sentence on who reconstructs better rests on it.
    """
    winner, other = (
        {seed: math.log(value) if value > 0 else math.nan for seed, value in unexplained_on_test(runs).items()}
        for runs in (runs_of(study, "winner"), runs_of(study, baseline))
    )
    return paired_difference(winner, other)


def ties(study: StudyRecord, baseline: str) -> bool:
    """Whether a baseline does as well as the winner.

    It passes the gates on as many seeds, one at least, and the 95 % interval of the paired relative difference in
    `unexplained` on the test split does not lie wholly on the winner's side, or the winner diverged on more of these
    seeds.
    """
    winner, other = runs_of(study, "winner"), runs_of(study, baseline)
    if sum(run.passed for run in other) < max(1, sum(run.passed for run in winner)):
        return False
    return not reconstruction_difference(study, baseline).first_less


def beats(study: StudyRecord, baseline: str) -> bool:
    """Whether a baseline ties, and that interval lies wholly on its own side."""
    return ties(study, baseline) and reconstruction_difference(study, baseline).second_less


def is_winner(study: StudyRecord, baseline: str) -> bool:
    """Whether the settings of a baseline are those of the winner, trained by the same method."""
    winner = next((trial for trial in study.trials if trial.number == study.winner), None)
    if winner is None or study.definition.baseline_method(baseline) is not None:
        return False
    return study.definition.baseline_hyperparameters().get(baseline) == winner.hyperparameters


def better_baseline(study: StudyRecord) -> str | None:
    """The baseline that beats the winner by most and is not the winner itself; None where none does."""
    names = [name for name in baseline_names(study) if not is_winner(study, name) and beats(study, name)]
    return max(names, key=lambda name: reconstruction_difference(study, name).mean, default=None)


def own_settings(study: StudyRecord) -> dict[str, tuple[TrainingRun, ...]]:
    """The trainings of the settings that the user wrote, by name: on fresh seeds, else the trial that repeats them."""
    found: dict[str, tuple[TrainingRun, ...]] = {}
    for name in study.definition.baselines:
        if study.definition.baseline_method(name) is None:
            trials = tuple(trial for trial in study.complete if trial.origin == name)
            if runs := runs_of(study, name) or trials:
                found[name] = runs
    return found


def dominating(study: StudyRecord) -> TrialRecord | None:
    """A trial that beats the winner in KL and reconstruction and misses only *settled*; the best such one, or None.

    Its KL lies nearer the middle of the band, and its `unexplained` below that of every seed of the winner (both on
    validation).
    """
    runs = runs_of(study, "winner")
    errors = [run.unexplained for run in runs if math.isfinite(run.unexplained)]
    kls = [run.kl for run in runs if math.isfinite(run.kl)]
    if not errors or not kls:
        return None
    thresholds, latents = study.definition.thresholds(), study.definition.model.latent_dim
    middle = sum(thresholds.kl_band) / 2

    def distance(kl: float) -> float:
        return abs(thresholds.banded_kl(kl, latents) - middle)

    better = [
        trial
        for trial in study.complete
        if [gate.name for gate in trial.gates if not gate.passed] == ["settled"]
        and trial.unexplained < min(errors)
        and distance(trial.kl) < min(map(distance, kls))
    ]
    return min(better, key=lambda trial: trial.unexplained, default=None)
