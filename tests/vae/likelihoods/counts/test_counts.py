"""Which rows likelihoods of counts can score; that they are counts is seen when they are read."""

import numpy as np

from klsearch.vae.likelihoods.counts.negative_binomial import NEGATIVE_BINOMIAL
from klsearch.vae.likelihoods.counts.poisson import POISSON

SOUND = np.array([[0.0, 3.0], [2.0, 0.0]])


def test_counts_that_were_scaled_are_told_to_be_left_alone() -> None:
    expected = "needs counts as they are; set data.scaling = 'auto', which leaves them so"
    assert POISSON.misfit([SOUND, SOUND / 3], "minmax") == expected
    assert POISSON.misfit([SOUND - 1], "standard") == expected
    assert POISSON.misfit([SOUND], "minmax") is None, "scaled by 1"


def test_a_row_of_zeros_has_no_library_size_and_is_refused_where_one_is_needed() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 0.0]])
    expected = "needs rows with a library size above 0, but 1 holds nothing but zeros; remove them, or use 'poisson'"
    assert NEGATIVE_BINOMIAL.misfit([SOUND, rows, SOUND[:0]], "counts") == expected
    assert POISSON.misfit([SOUND, rows, SOUND[:0]], "counts") is None
    assert NEGATIVE_BINOMIAL.misfit([SOUND], "counts") is None


def test_a_missing_count_is_no_fraction() -> None:
    assert POISSON.misfit([np.where(SOUND > 1, np.nan, SOUND)], "minmax") is None
