"""Tokens against SciPy's probabilities, and real trainings on simulated and on real sequences."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from klsearch.vae.data.tokens import Alphabet
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.categorical import CATEGORICAL
from tests.vae.likelihoods.conftest import Fit

CLASSES = 3
LIKELIHOOD = CATEGORICAL.for_rows((4, CLASSES))
TOKENS = np.array([[0, 2, 1, -1], [1, 1, -1, -1]])
ROWS = Alphabet(CLASSES, is_one_hot=False).encode(TOKENS).reshape(2, -1)
LOGITS = np.random.default_rng(0).normal(size=(2, 4 * CLASSES)).astype(np.float32)
SHARES = special.softmax(LOGITS.reshape(2, 4, CLASSES).astype(float), axis=-1)


def test_the_error_of_a_token_is_the_logarithm_of_its_probability_and_of_padding_nothing() -> None:
    error = LIKELIHOOD.error(tf.constant(ROWS), tf.constant(LOGITS)).numpy().reshape(2, 4, CLASSES).sum(axis=-1)
    one_hot = ROWS.reshape(2, 4, CLASSES)
    for row, place in np.argwhere(TOKENS >= 0):
        expected = -stats.multinomial(1, SHARES[row, place]).logpmf(one_hot[row, place])
        assert error[row, place] == pytest.approx(expected, rel=1e-5)
    assert np.all(error[TOKENS < 0] == 0)


def test_the_reconstruction_are_the_shares_of_each_place() -> None:
    found = LIKELIHOOD.mean(tf.constant(LOGITS), tf.constant(ROWS)).numpy()
    assert found == pytest.approx(SHARES.reshape(2, -1), rel=1e-5)


def test_the_deviance_is_twice_the_error_since_a_token_itself_has_probability_one() -> None:
    found = LIKELIHOOD.deviance.between(
        tf.constant(SHARES.reshape(2, -1)), tf.constant(ROWS, tf.float64), tf.ones([12])
    )
    error = LIKELIHOOD.error(tf.constant(ROWS), tf.constant(LOGITS))
    assert found.numpy() == pytest.approx(2 * error.numpy(), rel=1e-5)


def test_the_training_mean_is_taken_over_the_rows_that_have_a_token_in_the_place() -> None:
    mean = tf.constant(ROWS.mean(axis=0))
    found = LIKELIHOOD.deviance.predicted_by_mean(mean, tf.constant(ROWS)).numpy().reshape(4, CLASSES)
    assert found.tolist() == [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("likelihood", [CATEGORICAL, CATEGORICAL.for_rows((4, CLASSES)).for_rows((4, CLASSES))])
def test_the_gradient_at_every_place_is_the_share_less_the_token(likelihood: object) -> None:
    given = LIKELIHOOD if likelihood is CATEGORICAL else likelihood
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        error = tf.reduce_sum(given.error(tf.constant(ROWS), logits))  # type: ignore[attr-defined]
    told = (TOKENS >= 0)[:, :, np.newaxis]
    expected = np.where(told, SHARES - ROWS.reshape(2, 4, CLASSES), 0).reshape(2, -1)
    assert tape.gradient(error, logits).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "scaling", "misfit"),
    [
        (ROWS.reshape(2, 4, CLASSES), "tokens", None),
        (ROWS.reshape(2, 4, CLASSES), "none", None),
        (
            TOKENS.astype(np.float32),
            "none",
            "needs tokens as they are; set data.scaling = 'auto', which makes them one-hot",
        ),
        (ROWS.reshape(2, 4, CLASSES) - 0.5, "standard", "needs tokens as they are; set data.scaling = 'auto'"),
    ],
)
def test_only_one_hot_rows_can_be_scored(rows: np.ndarray, scaling: str, misfit: str | None) -> None:
    found = CATEGORICAL.misfit([rows, rows[:0]], scaling)
    assert found is None if misfit is None else str(found).startswith(misfit)


@pytest.mark.slow("trains on 3,000 rows")
def test_simulated_sequences_give_back_their_latents_and_the_shares_of_their_tokens(fit: Fit) -> None:
    rng = np.random.default_rng(0)
    latents, length, classes = 2, 40, 4
    loads = rng.normal(size=(latents, length, classes))
    shares = special.softmax(np.einsum("nd,dlc->nlc", rng.normal(size=(3600, latents)), loads), axis=-1)
    tokens = (shares.cumsum(axis=-1) < rng.uniform(size=(3600, length, 1))).sum(axis=-1)
    tokens[rng.uniform(size=tokens.shape) < 0.1] = -1
    rows = Alphabet(classes, is_one_hot=False).encode(tokens)
    fitted = fit(CATEGORICAL, {"train": rows[:3000], "validation": rows[3000:]}, 40)
    assert np.sum(fitted.measures.kl_per_latent > 0.5) == latents
    found, truth = fitted.mean.reshape(-1, length, classes), shares[3000:]
    assert np.mean(np.abs(found - truth)) < np.mean(np.abs(truth.mean(axis=0) - truth)) / 2
    assert fitted.measures.unexplained < 0.85


@pytest.mark.slow("trains twice on 318 words")
def test_words_beat_the_bernoulli_likelihood_of_the_same_columns(fit: Fit) -> None:
    """Real sequences, padded: English stop words. What Bernoulli learns of them most of all is their length."""
    words = sorted(ENGLISH_STOP_WORDS)
    tokens = np.full((len(words), max(map(len, words))), -1)
    for row, word in zip(tokens, words, strict=True):
        row[: len(word)] = [ord(letter) - ord("a") for letter in word]
    rows = np.random.default_rng(0).permutation(Alphabet(26, is_one_hot=False).encode(tokens))
    splits = {"train": rows[:250], "validation": rows[250:]}

    def bits_of_a_letter(shares: np.ndarray) -> float:
        """By shares of the letters at each place, whatever the likelihood gives."""
        by_place = shares.reshape(rows[250:].shape)
        by_place = by_place / by_place.sum(axis=-1, keepdims=True)
        return float(-np.sum(rows[250:] * np.log2(np.maximum(by_place, 1e-6))) / rows[250:].sum())

    categorical = fit(CATEGORICAL, splits, 60)
    assert bits_of_a_letter(categorical.mean) < bits_of_a_letter(fit(BERNOULLI, splits, 60).mean)
    assert categorical.measures.unexplained < 1
