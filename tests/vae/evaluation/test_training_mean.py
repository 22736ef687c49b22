"""What predicting the training mean costs, by hand."""

import numpy as np
import pytest

from klsearch.vae.data.gaps import Gaps
from klsearch.vae.evaluation.training_mean import TrainingMean, evenly_spaced
from klsearch.vae.likelihoods.counts.negative_binomial import NEGATIVE_BINOMIAL
from klsearch.vae.likelihoods.gaussian import GAUSSIAN

TRAIN = np.array([[0, 2], [4, 6]], np.float32)
WHOLE = Gaps({"train": TRAIN})


def test_a_gaussian_s_deviance_is_the_squared_distance_from_the_mean() -> None:
    mean = TrainingMean(GAUSSIAN, TRAIN, WHOLE)
    assert mean.values.tolist() == [2, 4]
    assert mean.deviance(np.array([[2, 7]], np.float32)).tolist() == [[0, 9]]


def test_rows_of_any_shape_are_taken_value_by_value() -> None:
    images = TRAIN.reshape(2, 1, 2)
    assert TrainingMean(GAUSSIAN, images, WHOLE).deviance(images).tolist() == [[4, 4], [4, 4]]


def test_counts_are_predicted_by_the_row_s_total_and_the_mean_shares() -> None:
    mean = TrainingMean(NEGATIVE_BINOMIAL, TRAIN, WHOLE)
    assert mean.deviance(np.array([[3, 6]], np.float32)) == pytest.approx(np.zeros((1, 2)), abs=1e-12)
    assert np.all(mean.deviance(np.array([[6, 3]], np.float32)) > 0.1)


def test_few_rows_are_all_taken_and_many_from_all_over_them() -> None:
    assert evenly_spaced(TRAIN)[:].tolist() == TRAIN.tolist()
    taken = evenly_spaced(np.arange(100_000))[:]
    assert (len(taken), taken[0], taken[-1]) == (4096, 0, 99_999)


def test_gaps_take_no_part_in_the_mean_and_cost_nothing() -> None:
    train = np.array([[0, 2], [4, np.nan]], np.float32)
    mean = TrainingMean(GAUSSIAN, train, Gaps({"train": train}))
    assert mean.values.tolist() == [2, 2]
    assert mean.deviance(np.array([[np.nan, 5]], np.float32)).tolist() == [[0, 9]]


def test_what_is_missing_has_no_part_in_the_spread() -> None:
    """Σ((x − m)² − m) / Σm², m the column's share, 3/7 or 4/7, of the row's total: 32, 20 + 16, 12 + 6 and 26."""
    train = np.array([[2, 30], [20, np.nan], [np.nan, 6], [14, 12]], np.float32)  # means 12 and 16
    first = ((2 - 96 / 7) ** 2 + (20 - 108 / 7) ** 2 + (14 - 78 / 7) ** 2 - 282 / 7) / (96**2 + 108**2 + 78**2) * 49
    second = ((30 - 128 / 7) ** 2 + (6 - 72 / 7) ** 2 + (12 - 104 / 7) ** 2 - 304 / 7) / (128**2 + 72**2 + 104**2) * 49
    mean = TrainingMean(NEGATIVE_BINOMIAL, train, Gaps({"train": train}))
    assert mean.values.tolist() == [12, 16]
    assert mean.spread == pytest.approx([first, second]) and min(first, second) > 0.1
