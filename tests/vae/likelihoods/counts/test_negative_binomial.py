"""Overdispersed counts against SciPy's probabilities, and a real training on simulated ones."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.likelihoods.counts.negative_binomial import NEGATIVE_BINOMIAL
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.networks.stacking import trainable_variables
from klsearch.vae.training.population import Population
from tests.vae.likelihoods.conftest import Fit, Populate

ROWS = np.array([[0.0, 1.0, 7.0], [40.0, 0.0, 3.0]], np.float32)
LOG_SHARES = np.array([[-2.0, 0.5, 2.0], [1.5, 0.0, -1.0]], np.float32)
LOG_DISPERSION = np.array([-3.0, 0.0, 1.0], np.float32)
OUTPUT = tf.constant(np.stack([LOG_SHARES, np.tile(LOG_DISPERSION, (2, 1))], axis=-1).reshape(2, 6))
MEANS = ROWS.sum(axis=1, keepdims=True).astype(float) * special.softmax(LOG_SHARES.astype(float), axis=1)


def test_the_error_of_a_count_is_the_logarithm_of_its_probability() -> None:
    size = 1 / (np.exp(LOG_DISPERSION.astype(float)) + 1e-3)
    expected = -stats.nbinom(size, size / (size + MEANS)).logpmf(ROWS)
    assert NEGATIVE_BINOMIAL.error(tf.constant(ROWS), OUTPUT).numpy() == pytest.approx(expected, rel=2e-5)


def test_the_reconstruction_shares_out_the_row_s_total() -> None:
    assert NEGATIVE_BINOMIAL.mean(OUTPUT, tf.constant(ROWS)).numpy() == pytest.approx(MEANS, rel=1e-5)


def test_the_deviance_is_twice_what_a_row_s_own_mean_gains_at_the_same_dispersion() -> None:
    rows, size = ROWS.astype(float), np.array([0.5, 2.0, 8.0])

    def log_probability(mean: np.ndarray) -> np.ndarray:
        return np.asarray(stats.nbinom(size, size / (size + mean)).logpmf(rows))

    found = NEGATIVE_BINOMIAL.deviance.between(tf.constant(MEANS), tf.constant(rows), tf.constant(1 / size))
    assert found.numpy() == pytest.approx(2 * (log_probability(rows) - log_probability(MEANS)), abs=1e-9)


def test_the_training_mean_knows_a_row_s_total_as_the_model_does() -> None:
    predicted = NEGATIVE_BINOMIAL.deviance.predicted_by_mean(
        tf.constant([1.0, 3.0]), tf.constant([[2.0, 6.0], [0.0, 4.0]])
    )
    assert predicted.numpy().tolist() == [[2.0, 6.0], [1.0, 3.0]]


def test_the_dispersion_that_the_deviance_is_measured_by_is_that_of_the_training_rows() -> None:
    rng = np.random.default_rng(0)
    means, dispersion = np.full((200_000, 2), [20.0, 50.0]), np.array([0.5, 0.1])
    rows = rng.poisson(rng.gamma(1 / dispersion, means * dispersion)).astype(float)
    rows[:, 1] = means[:, 1] + 20 - rows[:, 0]  # so that every total is the same
    found = NEGATIVE_BINOMIAL.deviance.spread(rows, rows.mean(axis=0))
    assert found[0] == pytest.approx(0.5, rel=0.03)


LATENTS, GENES = 3, 60


class Cells:
    """A table of counts with known latents, dispersions and library sizes, as single cells have."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        loads, offset = rng.normal(size=(LATENTS, GENES)) * 0.7, rng.normal(size=GENES)
        shares = special.softmax(rng.normal(size=(2000, LATENTS)) @ loads + offset, axis=1)
        means = np.exp(rng.normal(6.5, 0.5, size=(2000, 1))) * shares
        self.log_dispersion = rng.normal(-1.5, 0.5, size=GENES)
        dispersion = np.exp(self.log_dispersion)
        rows = rng.poisson(rng.gamma(1 / dispersion, means * dispersion)).astype(np.float32)
        self.splits = {"train": rows[:1400], "validation": rows[1400:]}


@pytest.mark.slow("trains on 1,400 rows twice")
def test_simulated_cells_give_back_their_latents_and_dispersions_and_beat_a_gaussian(fit: Fit) -> None:
    cells = Cells()
    fitted = fit(NEGATIVE_BINOMIAL, cells.splits, 100)
    assert fitted.active == LATENTS
    log_dispersion = fitted.parts["log_dispersion"]
    assert np.all(log_dispersion == log_dispersion[0]), "one for a column"
    assert np.corrcoef(log_dispersion[0], cells.log_dispersion)[0, 1] > 0.8
    assert np.mean(np.abs(log_dispersion[0] - cells.log_dispersion)) < 0.25

    train, rows = cells.splits["train"].astype(float), cells.splits["validation"]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scaled = {name: ((values - mean) / scale).astype(np.float32) for name, values in cells.splits.items()}
    predicted = fit(GAUSSIAN, scaled, 100).mean * scale + mean
    spread = NEGATIVE_BINOMIAL.deviance.spread(train, mean).astype(np.float32)

    def deviance(reconstruction: np.ndarray) -> float:
        found = NEGATIVE_BINOMIAL.deviance.between(tf.constant(reconstruction, tf.float32), rows, spread)
        return float(tf.reduce_mean(found))

    # What is no count at all is taken as a tenth of one.
    assert deviance(fitted.mean) < 0.9 * deviance(np.maximum(predicted, 0.1))


def test_equal_members_in_different_slots_have_equal_bits_with_their_dispersions(
    populate: Populate, train: Callable[[Population, int], None], bits: Callable[[Population, int], dict[str, bytes]]
) -> None:
    network, population = populate(NEGATIVE_BINOMIAL, Cells().splits, 4)
    settings = Hyperparameters(kl_weight=1.0, learning_rate=3e-3, free_bits=0.1)
    for slot, seed in enumerate((7, 8, 9, 7)):
        population.start(slot, settings if seed == 7 else replace(settings, kl_weight=float(seed)), seed)
    train(population, 2)
    first, second, _, last = (bits(population, slot) for slot in range(4))
    assert first == last != second
    paths = [variable.path for variable in trainable_variables(network)]
    dispersions = population.weights(0)[paths.index("log_dispersion/bias")]
    assert len(set(dispersions.tolist())) > GENES / 2, "they are learned, each its own"
