"""What the KL weight does: the ladder's members, or all trials where there is none, and the candidates beside them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from klsearch.reports.readings.candidates import CandidateRuns, compared_candidates
from klsearch.reports.readings.rivals import weight_word
from klsearch.reports.readings.trials import Scatter, TrialOutcome, outcomes_of, trial_targets
from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.tables import measure
from klsearch.studies.ladder import Ladder, ladder_of
from klsearch.studies.record import StudyRecord, TrainingRun, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedMeasure:
    """A measure that is drawn against the KL weight.

    Attributes:
        name: of the measure.
        label: the same with its unit.
        read: its value for a training; NaN if that diverged.
    """

    name: str
    label: str
    read: Callable[[TrainingRun], float]


def weighed_measures(study: StudyRecord) -> tuple[WeighedMeasure, ...]:
    """KL, `unexplained` and active latents, at the end of training on the validation split."""
    factor = kl_factor(study)
    return (
        WeighedMeasure(name="KL", label=f"final KL, {kl_unit(study)}", read=lambda run: factor * run.kl),
        WeighedMeasure(name="Unexplained", label="unexplained", read=lambda run: run.unexplained),
        WeighedMeasure(
            name="Active latents",
            label=f"active latents of {study.definition.model.latent_dim}",
            read=lambda run: measure(run.measures, "active_units"),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeighedRuns:
    """The trainings that are drawn against the KL weight.

    Attributes:
        ladder: the study's; None where it has none, and trials differ in all that was searched.
        trials: the ladder's, or else all, trained to their end, in ascending KL weight; diverged ones too.
        outcomes: of the trials.
        targets: where on the page each trial leads.
        marks: who is compared and has a KL weight, with its place among all who are compared.
    """

    ladder: Ladder | None
    trials: tuple[TrialRecord, ...]
    outcomes: tuple[TrialOutcome, ...]
    targets: tuple[str, ...]
    marks: tuple[tuple[int, CandidateRuns], ...]

    def points(self, read: Callable[[TrainingRun], float]) -> Scatter:
        """The KL weight against one number, one point per trial."""
        return Scatter(
            x=np.array([trial.hyperparameters.kl_weight for trial in self.trials], dtype=float),
            y=np.array([read(trial) for trial in self.trials], dtype=float),
            outcomes=self.outcomes,
            trials=tuple(trial.number for trial in self.trials),
            targets=self.targets,
        )


def weighed_runs(study: StudyRecord) -> WeighedRuns:
    """The ladder of a study, or its trials where it has none, and whom it compares."""
    ladder = ladder_of(study)
    rungs = None if ladder is None else {rung.trial for rung in ladder.rungs}
    trials = [trial for trial in study.complete if rungs is None or trial.number in rungs]
    trials.sort(key=lambda trial: trial.hyperparameters.kl_weight)
    candidates = enumerate(compared_candidates(study))
    return WeighedRuns(
        ladder=ladder,
        trials=tuple(trials),
        outcomes=tuple(outcomes_of(study)[trial.number] for trial in trials),
        targets=trial_targets(study, trials),
        marks=tuple((place, one) for place, one in candidates if weight_word(study, one.name) is None),
    )


def kl_weight_of(candidate: CandidateRuns) -> float:
    """The KL weight with which all of a candidate's runs were trained."""
    return candidate.runs[0].hyperparameters.kl_weight
