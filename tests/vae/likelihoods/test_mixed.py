"""Tables whose columns are scored each by its kind."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from klsearch.vae.data.readers.raw import Column
from klsearch.vae.likelihoods.gaussian_variance import GAUSSIAN_COLUMN_VARIANCE
from klsearch.vae.likelihoods.mixed import MIXED, Mixed
from tests.vae.likelihoods.conftest import Fit

TABLE = (
    Column(name="age", kind="number"),
    Column(name="town", kind="category", categories=("Bonn", "Köln", "Mainz")),
    Column(name="size", kind="category", categories=("large", "small")),
    Column(name="visits", kind="count"),
    Column(name="smokes", kind="truth value"),
    Column(name="pay", kind="number"),
)
# A known word in each; the second row has a town that no training row has.
ROWS = np.array([[0.5, 0, 1, 0, 1, 0, 7, 1, -1.0], [-1.5, 0, 0, 0, 0, 1, 0, 0, 2.0]], np.float32)
LIKELIHOOD = Mixed(TABLE)


@pytest.fixture
def output() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 18)).astype(np.float32)


def errors(output: np.ndarray, rows: np.ndarray = ROWS) -> np.ndarray:
    return np.asarray(LIKELIHOOD.error(tf.constant(rows), tf.constant(output)))


def test_each_column_is_scored_by_its_own_density(output: np.ndarray) -> None:
    values, log_spread = output.reshape(2, 9, 2)[0].T.astype(np.float64)
    variance, dispersion = np.exp(log_spread) + 1e-6, np.exp(log_spread) + 1e-3
    mean = math.exp(values[6])
    size = 1 / dispersion[6]
    towns, sizes = (np.log(np.exp(part) / np.exp(part).sum()) for part in (values[1:4], values[4:6]))
    expected = [
        -stats.norm.logpdf(0.5, values[0], math.sqrt(variance[0])),
        *(0, -towns[1], 0),
        *(-sizes[0], 0),
        -stats.nbinom.logpmf(7, size, size / (size + mean)),
        -stats.bernoulli.logpmf(1, 1 / (1 + math.exp(-values[7]))),
        -stats.norm.logpdf(-1.0, values[8], math.sqrt(variance[8])),
    ]
    assert errors(output)[0] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_word_that_no_training_row_has_costs_nothing(output: np.ndarray) -> None:
    assert errors(output)[1, 1:4].tolist() == [0, 0, 0]


def test_the_reconstruction_gives_means_and_probabilities_that_add_up_to_one(output: np.ndarray) -> None:
    mean = np.asarray(LIKELIHOOD.mean(tf.constant(output), tf.constant(ROWS)))
    values = output.reshape(2, 9, 2)[..., 0]
    assert mean[:, [0, 8]] == pytest.approx(values[:, [0, 8]])
    assert mean[:, 1:4].sum(axis=1) == pytest.approx([1, 1])
    assert mean[:, 4:6].sum(axis=1) == pytest.approx([1, 1])
    assert mean[:, 6] == pytest.approx(np.exp(values[:, 6]))
    assert mean[:, 7] == pytest.approx(1 / (1 + np.exp(-values[:, 7])))


def test_plain_keras_scores_and_reconstructs_the_columns_alike(output: np.ndarray) -> None:
    values, log_spread = LIKELIHOOD.split(tf.constant(output))
    names = {"ops": keras.ops, "math": math, "tf": tf, "rows": tf.constant(ROWS)}
    names |= {"location": values, "log_spread": log_spread}
    *assignments, expression = LIKELIHOOD.keras_error.splitlines()
    exec("\n".join(assignments), names)
    assert np.asarray(eval(expression, names)) == pytest.approx(errors(output), rel=1e-5, abs=1e-6)
    given = {"keras": keras, "output": tf.reshape(tf.constant(output), [2, 9, 2])}
    mean = np.asarray(LIKELIHOOD.mean(tf.constant(output), tf.constant(ROWS)))
    assert LIKELIHOOD.keras_mean is not None
    assert np.asarray(eval(LIKELIHOOD.keras_mean, given)) == pytest.approx(mean, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences(output: np.ndarray) -> None:
    rows = tf.constant(ROWS, tf.float64)
    exact, numeric = tf.test.compute_gradient(
        lambda at: LIKELIHOOD.error(rows, at), [tf.constant(output, tf.float64)], delta=1e-5
    )
    assert exact[0] == pytest.approx(numeric[0], rel=1e-5, abs=1e-8)


def test_members_in_front_score_the_same_rows(output: np.ndarray) -> None:
    several = np.stack([output, output + 1])
    assert errors(several) == pytest.approx(np.stack([errors(output), errors(output + 1)]), rel=1e-6)


def test_a_number_s_deviance_is_its_error_in_training_variances_and_a_word_s_is_minus_twice_its_log() -> None:
    train = np.array([[1.0, 1, 0, 0, 1, 0, 2, 1, 0], [3.0, 0, 1, 0, 1, 0, 2, 0, 4]])
    mean = train.mean(axis=0)
    spread = LIKELIHOOD.deviance.spread(train, mean)
    assert spread[[0, 8]].tolist() == [1, 4]
    found = np.asarray(LIKELIHOOD.deviance.between(tf.constant(mean), tf.constant(train), tf.constant(spread)))
    assert found[:, 0] == pytest.approx([1, 1])
    assert found[:, 8] == pytest.approx([1, 1])
    assert found[0, 1:4] == pytest.approx([2 * math.log(2), 0, 0])
    assert found[:, 7] == pytest.approx([2 * math.log(2)] * 2)
    assert found[:, 6] == pytest.approx([0, 0], abs=1e-9)


def test_words_that_some_training_rows_lack_are_predicted_by_shares_of_those_that_have_one() -> None:
    rows = tf.constant(ROWS[:1], tf.float64)
    mean = tf.constant([0, 0.25, 0.25, 0, 1, 0, 1, 0.5, 0], tf.float64)
    predicted = LIKELIHOOD.deviance.predicted_by_mean(mean, rows)
    found = np.asarray(LIKELIHOOD.deviance.between(predicted, rows, tf.ones([9], tf.float64)))
    assert found[0, 2] == pytest.approx(2 * math.log(2))


def test_gaps_take_no_part_in_what_is_fitted() -> None:
    train = np.array([[1.0, 1, 0, 0, 1, 0, 2, 1, 0], [3.0, 0, 1, 0, 1, 0, 2, 0, 4], [np.nan] * 9])
    mean = np.nanmean(train, axis=0)
    assert LIKELIHOOD.deviance.spread(train, mean) == pytest.approx(LIKELIHOOD.deviance.spread(train[:2], mean))


def test_encoders_take_the_logarithm_of_counts_alone() -> None:
    assert LIKELIHOOD.log_input == (*[False] * 6, True, False, False)
    assert Mixed(TABLE[:3]).log_input is False


def test_numbers_alone_are_a_gaussian_with_a_learned_variance(output: np.ndarray) -> None:
    rows = tf.constant(ROWS)
    found, expected = (np.asarray(one.error(rows, tf.constant(output))) for one in (MIXED, GAUSSIAN_COLUMN_VARIANCE))
    assert found == pytest.approx(expected)


def test_columns_that_are_not_scaled_by_their_kind_are_refused() -> None:
    assert LIKELIHOOD.misfit([ROWS], "columns") is None
    assert LIKELIHOOD.misfit([ROWS], "minmax") == "scales each column by its kind; set data.scaling = 'auto'"


@pytest.mark.slow("trains on 1,400 rows")
def test_simulated_people_give_back_how_their_columns_came_about(fit: Fit) -> None:
    """Of two latents: numbers with noise of 0.3, categories of three words, counts and truth values, five of each."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(2000, 2))

    def driven(columns: int, size: float) -> np.ndarray:
        return np.asarray(latents @ rng.normal(size=(2, columns)) * size)

    numbers, logits, log_rates, chances = driven(5, 1.0), driven(15, 2.0), driven(5, 0.7), driven(5, 2.0)
    shares = np.exp(logits.reshape(2000, 5, 3))
    shares /= shares.sum(axis=2, keepdims=True)
    words = np.array([[rng.choice(3, p=p) for p in row] for row in shares])
    means = 1 / (1 + np.exp(-chances))
    noise = numbers.std(axis=0) * 0.3
    rows = np.concatenate(
        [
            (numbers + noise * rng.normal(size=numbers.shape)) / numbers.std(axis=0),
            np.eye(3)[words].reshape(2000, 15),
            rng.poisson(np.exp(1 + log_rates)),
            rng.uniform(size=means.shape) < means,
        ],
        axis=1,
    ).astype(np.float32)
    table = (
        *(Column(name=f"n{at}", kind="number") for at in range(5)),
        *(Column(name=f"w{at}", kind="category", categories=("a", "b", "c")) for at in range(5)),
        *(Column(name=f"c{at}", kind="count") for at in range(5)),
        *(Column(name=f"t{at}", kind="truth value") for at in range(5)),
    )
    found = fit(Mixed(table), {"train": rows[:1400], "validation": rows[1400:]}, 100)
    assert found.active == 2
    assert np.exp(found.parts["log_spread"][0, :5]) == pytest.approx([0.09] * 5, rel=0.35)
    told = {
        "numbers": (found.mean[:, :5], numbers / numbers.std(axis=0)),
        "words": (found.mean[:, 5:20], shares.reshape(2000, 15)),
        "counts": (np.log(found.mean[:, 20:25]), 1 + log_rates),
        "truths": (found.mean[:, 25:], means),
    }
    agree = {what: np.corrcoef(seen.ravel(), true[1400:].ravel())[0, 1] for what, (seen, true) in told.items()}
    assert min(agree.values()) > 0.9, agree
