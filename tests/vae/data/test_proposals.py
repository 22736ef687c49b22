"""What data suggest, against data whose nature is known."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from klsearch.vae.data.proposals import (
    are_series,
    choose_kl_weights,
    choose_likelihood,
    have_channels_first,
    largest_eigenvalue,
)
from klsearch.vae.data.tokens import Alphabet

RNG = np.random.default_rng(0)
MEANS = np.linspace(1, 20, 8)
DIGITS = load_digits().images / 16


def walks(length: int, channels: int) -> np.ndarray:
    """Random walks, each channel by itself, of scales of their own."""
    steps = np.random.default_rng(0).normal(size=(200, length, channels))
    return np.cumsum(steps, axis=1) * np.geomspace(0.1, 10, channels)


@pytest.mark.parametrize(
    ("rows", "likelihood", "reason"),
    [
        (RNG.normal(size=(300, 5)), "gaussian", "numbers"),
        (DIGITS, "gaussian", "'bernoulli' would take them for probabilities"),
        ((DIGITS > 0.5).astype(np.uint8), "bernoulli", "zeros and ones"),
        (RNG.poisson(MEANS, size=(500, 8)), "poisson", "counts"),
        (RNG.poisson(RNG.gamma(2.0, MEANS / 2, size=(500, 8))), "negative_binomial", "times their mean"),
        (Alphabet(5, is_one_hot=False).encode(RNG.integers(0, 5, size=(90, 7))), "categorical", "one-hot tokens, 5"),
        (RNG.integers(0, 256, size=(50, 8, 8)), "gaussian", "numbers"),  # pixels are no counts
    ],
)
def test_the_likelihood_follows_from_what_the_rows_are(rows: np.ndarray, likelihood: str, reason: str) -> None:
    chosen = choose_likelihood(rows)
    assert chosen.likelihood == likelihood
    assert reason in chosen.reason


def test_missing_values_have_no_say() -> None:
    rows = RNG.poisson(MEANS, size=(500, 8)).astype(float)
    rows[::7, 3] = np.nan
    assert choose_likelihood(rows).likelihood == "poisson"


@pytest.mark.parametrize(
    ("empty", "told"),
    [([3], "1 row holds nothing but zeros; remove it"), ([3, 7], "2 rows hold nothing but zeros; remove them")],
)
@pytest.mark.parametrize("count", [500, 3000])
def test_a_row_of_zeros_anywhere_leaves_no_library_size_and_what_would_is_said(
    count: int, empty: list[int], told: str
) -> None:
    rows = np.random.default_rng(0).poisson(np.random.default_rng(0).gamma(2.0, MEANS / 2, size=(count, 8)))
    rows[rows.sum(axis=1) == 0] = 1
    assert choose_likelihood(rows).likelihood == "negative_binomial"
    rows[empty] = 0
    chosen = choose_likelihood(rows)
    assert chosen.likelihood == "poisson"
    assert chosen.reason.endswith(f" times their mean, but {told} and take 'negative_binomial'")


TOKENS = np.random.default_rng(0).integers(0, 6, size=(400, 12))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            np.where(np.arange(12) < 9, TOKENS, -1),
            "whole numbers from -1 on; 'categorical' if they are tokens and -1 is",
        ),
        (TOKENS, "; 'categorical' if they are tokens"),
        (np.where(RNG.uniform(size=TOKENS.shape) < 0.1, np.nan, TOKENS), "; 'categorical' if they are tokens"),
        (RNG.poisson(MEANS, size=(500, 8)), None),
        (TOKENS * 100, None),
        (TOKENS - 2, None),
        (TOKENS - 0.5, None),
    ],
)
def test_few_whole_numbers_that_are_the_same_at_all_places_may_be_tokens(rows: np.ndarray, told: str | None) -> None:
    reason = choose_likelihood(rows).reason
    assert told in reason if told else "categorical" not in reason


@pytest.mark.parametrize("shape", [(2000, 6), (40, 300)])
def test_the_largest_eigenvalue_is_that_of_the_covariance(shape: tuple[int, int]) -> None:
    rows = RNG.normal(size=shape) * np.linspace(1, 3, shape[1])
    some = rows[np.unique(np.linspace(0, shape[0] - 1, min(shape[0], 1024)).astype(int))]
    expected = np.linalg.eigvalsh(np.cov(some.T, bias=True))[-1]
    assert largest_eigenvalue(rows.astype(np.float32)) == pytest.approx(expected, rel=1e-4)


def test_kl_weights_end_where_a_linear_model_keeps_no_latent() -> None:
    """Rows that vary along one line by a variance of 9: β = 18 takes its last latent."""
    rows = (3 * RNG.normal(size=(1000, 1)) * [1, 0, 0]).astype(np.float32)
    found = choose_kl_weights(rows, unit=0.5, is_squared_error=True)
    assert [found.low, found.high] == pytest.approx([9e-4, 9], rel=0.15)
    around = choose_kl_weights(rows, unit=0.5, is_squared_error=False)
    assert (around.low, around.high) == (0.005, 5.0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (walks(24, 8), True),
        (walks(20, 20), True),
        (walks(30, 2), True),
        (np.where(RNG.uniform(size=(200, 24, 8)) < 0.05, np.nan, walks(24, 8)), True),
        (load_digits().images, False),
        (load_digits().images / 16, False),
        (np.cumsum(walks(24, 8), axis=2), False),  # smooth both ways
        (np.random.default_rng(1).normal(size=(200, 24, 8)), False),
        (np.ones((50, 24, 8)), False),
        (walks(24, 1)[:, :1], False),
    ],
)
def test_series_are_told_from_images_by_channels_without_an_order(rows: np.ndarray, expected: bool) -> None:
    assert are_series(rows) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (walks(24, 8).swapaxes(1, 2), True),
        (walks(24, 1).swapaxes(1, 2), True),
        (np.random.default_rng(1).normal(size=(200, 1, 24)), True),  # one step of 24 channels is none
        (walks(24, 8), False),
        (walks(24, 1), False),
        (np.cumsum(walks(24, 8), axis=2), False),  # channels with an order, as frequencies
        (load_digits().images, False),
        (np.random.default_rng(1).normal(size=(200, 24, 8)), False),
        (walks(24, 1)[:, :, 0], False),
        (np.where(np.arange(24)[:, np.newaxis] == 5, np.nan, walks(24, 8)).swapaxes(1, 2), True),  # a step nobody knows
        (walks(40_000, 8).swapaxes(1, 2), True),
        (np.zeros((9, 1, 28, 28)), True),
        (np.zeros((9, 3, 31, 17)), True),
        (np.zeros((9, 3, 8, 8)), True),
        (np.zeros((9, 4, 17, 64)), True),
        (np.zeros((9, 28, 28, 1)), False),
        (np.zeros((9, 31, 17, 3)), False),
        (np.zeros((9, 3, 31, 3)), False),
        (np.zeros((9, 1, 28, 1)), False),
        (np.zeros((9, 1, 28, 4)), False),
        (np.zeros((9, 3, 5, 28)), False),  # three rows of pixels, as likely
        (np.zeros((9, 2, 28, 28)), False),
        (np.zeros((9, 8, 28, 28)), False),
    ],
)
def test_channels_that_come_before_the_steps_are_seen(rows: np.ndarray, expected: bool) -> None:
    assert have_channels_first(rows) == expected
