"""Which rows are counts, and what is said of those that are none."""

import numpy as np
import pytest

from klsearch.vae.likelihoods.negative_binomial import NEGATIVE_BINOMIAL
from klsearch.vae.likelihoods.poisson import POISSON

SOUND = np.array([[0.0, 3.0], [2.0, 0.0]])


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([[0.0, 3.0], [2.0, -1.0]], "there are negative values, such as -1 in column 1 (counted from 0)"),
        ([[0.5, 3.0], [2.0, 1.0]], "there are fractions, such as 0.5 in column 0 (counted from 0)"),
    ],
)
def test_what_is_no_count_is_refused_with_its_place_and_a_way_out(rows: list[list[float]], found: str) -> None:
    expected = f"needs counts, whole numbers from 0 on, but {found}; give the raw counts, or use 'gaussian'"
    assert POISSON.misfit([SOUND, np.array(rows)], "counts") == expected
    assert NEGATIVE_BINOMIAL.misfit([SOUND, np.array(rows)], "counts") == expected


def test_counts_that_were_scaled_are_told_to_be_left_alone() -> None:
    expected = "needs counts as they are; set data.scaling = 'auto', which leaves them so"
    assert POISSON.misfit([SOUND / 3], "minmax") == expected


def test_the_place_in_an_image_is_its_indices() -> None:
    image = np.zeros((1, 2, 2))
    image[0, 1, 0] = 0.5
    assert "0.5 in place [1, 0]" in str(POISSON.misfit([image], "none"))


def test_a_row_of_zeros_has_no_library_size_and_is_refused_where_one_is_needed() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 0.0]])
    expected = "needs rows with a library size above 0, but 1 holds nothing but zeros; remove them, or use 'poisson'"
    assert NEGATIVE_BINOMIAL.misfit([SOUND, rows, SOUND[:0]], "counts") == expected
    assert POISSON.misfit([SOUND, rows, SOUND[:0]], "counts") is None
    assert NEGATIVE_BINOMIAL.misfit([SOUND], "counts") is None


def test_a_missing_count_is_no_fraction() -> None:
    assert POISSON.misfit([np.where(SOUND > 1, np.nan, SOUND)], "counts") is None
