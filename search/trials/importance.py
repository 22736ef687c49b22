"""The importance of each searched hyperparameter for good trials."""

from collections.abc import Sequence

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from klsearch.studies.record import IMPORTANCE_TRIALS


def importances(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """PED-ANOVA importance of each searched hyperparameter, as shares of 1, largest first.

    It answers which hyperparameters bring a trial among the best tenth (Watanabe et al. 2023), not how much of the
    score's variance each explains. Too few complete trials, or scores that are all the same, give an empty dict.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if len(complete) < IMPORTANCE_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    study = optuna.create_study(sampler=RandomSampler())
    study.add_trials(complete)
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}
