"""When more search no longer pays."""

import math

import numpy as np
import pytest
from klsearch.studies.convergence import TriedSettings, convergence

from klsearch.studies.definitions.space import Range

RANGES = {"kl_weight": Range(low=1e-4, high=1.0, log=True), "encoder_dropout": Range(low=0.0, high=0.4)}


def spread_trials(count: int, *, noise: float, slope: float = 0.0, seed: int = 0) -> list[TriedSettings]:
    """Trials spread evenly over the space, whose scores rise with dropout by `slope` and differ by `noise`."""
    rng = np.random.default_rng(seed)
    return [
        TriedSettings({"kl_weight": 10.0 ** rng.uniform(-4, 0), "encoder_dropout": dropout}, score, feasible=True)
        for dropout in rng.uniform(0, 0.4, count)
        for score in [1 + slope * dropout + noise * rng.normal()]
    ]


@pytest.mark.parametrize("slope", [0.0, 2.0])
def test_the_noise_is_what_scores_of_one_setting_differ_by(slope: float) -> None:
    found = [convergence(RANGES, spread_trials(400, noise=0.1, slope=slope, seed=seed)) for seed in range(5)]
    assert np.mean([one.noise for one in found if one is not None]) == pytest.approx(0.1, rel=0.1)


def test_without_noise_there_is_hardly_any() -> None:
    found = convergence(RANGES, spread_trials(400, noise=0.0, slope=2.0))
    assert found is not None
    assert found.noise < 0.05


def test_the_gain_is_what_the_last_half_lowered_the_best_score_by() -> None:
    tried = [trial._replace(score=2.0) for trial in spread_trials(120, noise=0.0)]
    tried[10] = tried[10]._replace(score=1.5)
    tried[59] = tried[59]._replace(score=1.0, feasible=False)  # counts for nothing
    tried[60] = tried[60]._replace(score=1.25)
    found = convergence(RANGES, tried)
    assert found is not None
    assert (found.gain, found.since) == (0.25, 60)


def test_it_is_reached_when_the_gain_lies_below_the_noise() -> None:
    def search(noise: float) -> bool:
        """The best score falls by 0.1 in the last half of the search."""
        tried = spread_trials(100, noise=noise)
        best = min(trial.score for trial in tried[:50])
        tried = [trial._replace(score=max(trial.score, best)) for trial in tried]
        tried[70] = tried[70]._replace(score=best - 0.1)
        found = convergence(RANGES, tried)
        assert found is not None
        assert found.gain == pytest.approx(0.1)
        return found.reached

    assert search(noise=0.3)
    assert not search(noise=0.03)


def test_nothing_is_said_of_too_few_trials_or_where_hardly_any_is_feasible() -> None:
    tried = spread_trials(120, noise=0.1)
    assert convergence(RANGES, []) is None
    assert convergence(RANGES, tried[:99]) is None
    assert convergence(RANGES, tried[:100]) is not None
    infeasible = [trial._replace(score=math.inf, feasible=False) for trial in tried]
    assert convergence(RANGES, infeasible) is None
    assert convergence(RANGES, infeasible[:60] + tried[60:]) is None, "no feasible one before the last"
    assert convergence(RANGES, tried[:19] + infeasible[19:]) is None
