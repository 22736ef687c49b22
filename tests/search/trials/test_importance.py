"""What mattered."""

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from klsearch.search.trials.importance import importances
from klsearch.studies.record import IMPORTANCE_TRIALS

DISTRIBUTIONS: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in ("idle", "strong", "weak")}


def scored_trials(count: int) -> list[FrozenTrial]:
    """Trials whose score is ruled by `strong`, a little by `weak`, and not at all by `idle`."""
    rng = np.random.default_rng(0)
    drawn = [{name: rng.uniform() for name in DISTRIBUTIONS} for _ in range(count)]
    return [
        create_trial(
            params=params, distributions=DISTRIBUTIONS, value=(params["strong"] - 0.3) ** 2 + 0.02 * params["weak"]
        )
        for params in drawn
    ]


def test_the_most_influential_hyperparameter_comes_first() -> None:
    shares = importances(scored_trials(200))
    assert next(iter(shares)) == "strong"
    assert set(shares) == set(DISTRIBUTIONS)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares["strong"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)


def test_too_few_trials_say_nothing() -> None:
    assert importances([]) == {}
    assert importances(scored_trials(IMPORTANCE_TRIALS - 1)) == {}
    assert importances(scored_trials(IMPORTANCE_TRIALS)) != {}


def test_only_complete_trials_count() -> None:
    running = create_trial(state=TrialState.RUNNING, params={}, distributions={})
    assert importances([*scored_trials(IMPORTANCE_TRIALS - 1), running, running]) == {}
    assert importances([*scored_trials(100), running]) == importances(scored_trials(100))


def test_scores_that_do_not_vary_say_nothing() -> None:
    same = [create_trial(params=trial.params, distributions=DISTRIBUTIONS, value=3.0) for trial in scored_trials(60)]
    assert importances(same) == {}
