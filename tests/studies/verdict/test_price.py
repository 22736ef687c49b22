"""What the winner costs."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ttest_rel

from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.price import prices

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
