"""Who is confirmed: the leading trials, and the baselines beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from klsearch.search.storage.rows import Run, trial_label
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import Method
from klsearch.studies.record import RunState, TrialRecord
from klsearch.vae.hyperparameters import Hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A leading trial or a baseline to be confirmed.

    Attributes:
        label: "trial 37", or the baseline's name.
        hyperparameters: its settings.
        method: by which a baseline weighs the KL; None where its settings do.
    """

    label: str
    hyperparameters: Hyperparameters
    method: Method | None = None

    def runs(self, seeds: Sequence[int]) -> list[Run]:
        """Its training on each of these seeds."""
        return [
            Run(hyperparameters=self.hyperparameters, seed=seed, label=self.label, method=self.method) for seed in seeds
        ]


def leading_trials(definition: StudyDefinition, trials: Sequence[TrialRecord]) -> list[Candidate]:
    """The study's leading trials, best first; none without a finished trial."""
    complete = [trial for trial in trials if trial.state is RunState.COMPLETE]
    ranked = sorted(complete, key=lambda trial: trial.rank)
    return [
        Candidate(label=trial_label(trial.number), hyperparameters=trial.hyperparameters)
        for trial in ranked[: definition.confirmation.top]
    ]


def baselines(definition: StudyDefinition) -> list[Candidate]:
    """The study's baselines."""
    return [
        Candidate(label=name, hyperparameters=settings, method=definition.baseline_method(name))
        for name, settings in definition.baseline_hyperparameters().items()
    ]
