"""Who is confirmed: the leading trials, and the baselines beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from klsearch.search.storage.rows import Run, trial_label
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import Method
from klsearch.studies.procedure import Procedure
from klsearch.studies.record import RunState, TrialRecord
from klsearch.studies.response import Response
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


def leading_trials(definition: StudyDefinition, trials: Sequence[TrialRecord], procedure: Procedure) -> list[Candidate]:
    """The study's leading trials, best first; none without a finished trial.

    By what a model of all trials expects of their settings, where it can be fitted; else by their own scores.
    """
    ranked = sorted((trial for trial in trials if trial.state is RunState.COMPLETE), key=lambda trial: trial.rank)
    response = Response.of(definition, trials) if procedure is Procedure.RACE else None
    expected = [trial.number for trial in response.leaders()] if response is not None else []
    by_number = {trial.number: trial for trial in ranked}
    first = dict.fromkeys([*expected, *by_number])
    return [
        Candidate(label=trial_label(number), hyperparameters=by_number[number].hyperparameters)
        for number in list(first)[: definition.confirmation.top]
    ]


def baselines(definition: StudyDefinition) -> list[Candidate]:
    """The study's baselines; of those that are the same, the first."""
    same = definition.same_baselines()
    return [
        Candidate(label=name, hyperparameters=settings, method=definition.baseline_method(name))
        for name, settings in definition.baseline_hyperparameters().items()
        if name not in same
    ]
