"""What the winner costs."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ttest_rel

from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.price import Price, prices

WINNER = [0.31, 0.32, 0.30, 0.33, 0.31, 0.32, 0.30, 0.33]
MINE = [0.30, 0.30, 0.29, 0.32, 0.29, 0.31, 0.29, 0.31]


def test_the_price_is_the_paired_relative_difference_with_its_interval(ill: Callable[..., StudyRecord]) -> None:
    study = ill(seeds=[{"unexplained": one} for one in WINNER], baseline=[{"unexplained": one} for one in MINE])
    (price,) = prices(study)
    test = ttest_rel(np.log(WINNER), np.log(MINE)).confidence_interval()
    assert (price.low, price.high) == pytest.approx(tuple(np.expm1(test)))
    assert price.change == pytest.approx(np.exp(np.mean(np.log(WINNER) - np.log(MINE))) - 1)
    assert price.words in summarize(study).sentence.replace("Reconstruction", "reconstruction")


def test_a_baseline_that_is_the_winner_costs_nothing_and_is_no_caveat(ill: Callable[..., StudyRecord]) -> None:
    study = ill(seeds=[{}] * 8, baseline=[{}] * 8)
    mine = study.definition.baseline_hyperparameters()["mine"]
    from dataclasses import replace

    same = replace(study, trials=(replace(study.trials[0], hyperparameters=mine), *study.trials[1:]))
    found = summarize(same)
    assert found.price == ()
    assert not any("mine" in caveat for caveat in found.caveats)
    assert "Your settings (`mine`) are the best found." in found.sentence
    none_passes = replace(same, confirmation=ill(seeds=[{"kl": 525.0}] * 8, baseline=[{}] * 8).confirmation)
    assert "best found" not in summarize(none_passes).sentence


@pytest.mark.parametrize(
    ("low", "change", "high", "words"),
    [
        (-4.4e-5, -1.5e-5, 1.5e-5, "reconstruction error no different from that of `mine` (95 %: by less than 0.1 %)"),
        (1e-5, 2e-5, 3e-5, "reconstruction error within 0.1 % of that of `mine`"),
        (0.0123, 0.0142, 0.0161, "reconstruction error 1.4 % higher than that of `mine` (95 % 1.2 to 1.6 %)"),
        (0.003, 0.08, 0.17, "reconstruction error 8.0 % higher than that of `mine` (95 % 0.3 to 17.0 %)"),
        (-0.63, -0.512, -0.41, "reconstruction error 51 % lower than that of `mine` (95 % 41 to 63 %)"),
        (
            -0.9,
            1.2,
            51.3,
            "reconstruction error not distinguishable from that of `mine` (95 %: 90 % lower to 5130 % higher)",
        ),
    ],
)
def test_a_price_has_as_many_digits_as_its_interval_allows(low: float, change: float, high: float, words: str) -> None:
    assert Price(baseline="mine", change=change, low=low, high=high, pairs=8).words == words
