"""What is kept for pictures, of models whose encoder and decoder are known matrices."""

import math
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.evaluation.evaluator import Evaluator, Members
from klsearch.vae.evaluation.pictures import image_shape, take_samples
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples, SeriesSamples
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.networks.network import Network
from klsearch.vae.objective import Objective

NO_NOISE = -60.0  # σ = e⁻³⁰ leaves z equal to μ in float32
RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.uniform(size=(30, 2, 2)).astype(np.float32),
    "validation": RNG.uniform(size=(5, 2, 2)).astype(np.float32),
    "test": (np.arange(24).reshape(6, 2, 2) / 24).astype(np.float32),
}
IMAGES["train"][0], IMAGES["train"][1] = 0.0, 1.0


@cache
def flat_network(shape: tuple[int, ...], latents: int) -> Network:
    """One linear layer each way."""
    rows, z = keras.Input(shape), keras.Input((latents,))
    flat = keras.layers.Flatten()(rows)
    heads = [keras.layers.Dense(latents)(flat) for _ in range(2)]
    output = keras.layers.Reshape(shape)(keras.layers.Dense(math.prod(shape))(z))
    return Network(encoder=keras.Model(rows, heads), decoder=keras.Model(z, output))


def flat_member(mean: np.ndarray, decoder: np.ndarray, *, log_var: float = NO_NOISE) -> Members:
    """μ = x · mean, z_log_var constant, reconstruction = z · decoder."""
    latents = mean.shape[1]
    weights = [
        *(mean, np.zeros(latents), np.zeros(mean.shape), np.full(latents, log_var)),
        *(decoder, np.zeros(decoder.shape[1])),
    ]
    return Members(
        weights=[tf.constant(value[np.newaxis], tf.float32) for value in weights],
        others=[],
        clip_low=np.full(1, -np.inf, np.float32),
        clip_high=np.full(1, np.inf, np.float32),
    )


EYE = np.eye(4)
# The last pixel of the test images is the brightest, so its latent has the largest mean.
MODELS = {"trial 3": flat_member(EYE, EYE), "before": flat_member(EYE, EYE / 2)}


def kept_images(likelihood: str = "gaussian", **splits: np.ndarray) -> ImageSamples:
    objective = Objective(likelihood=LIKELIHOODS[likelihood])
    taken = take_samples(flat_network((2, 2), 4), objective, IMAGES | splits, MODELS)
    assert isinstance(taken, ImageSamples)
    return taken


def test_a_perfect_model_gives_the_originals_and_one_of_half_the_scale_half_of_them() -> None:
    taken = kept_images()
    pixels = np.rint(IMAGES["test"] * 255).astype(np.uint8)[..., np.newaxis]
    assert (taken.split, taken.names) == ("test", ("trial 3", "before"))
    np.testing.assert_array_equal(taken.originals, pixels)
    np.testing.assert_array_equal(taken.reconstructions[0], pixels)
    np.testing.assert_allclose(taken.reconstructions[1], pixels / 2, atol=0.51)


def test_the_error_of_a_row_is_in_units_of_predicting_the_training_mean() -> None:
    rows, mean = IMAGES["test"].reshape(6, 4), IMAGES["train"].reshape(30, 4).mean(axis=0)
    unit = np.mean(np.sum((rows - mean) ** 2, axis=1))
    taken = kept_images()
    np.testing.assert_allclose(taken.unexplained[0], 0, atol=1e-9)
    np.testing.assert_allclose(taken.unexplained[1], np.sum((rows / 2) ** 2, axis=1) / unit, rtol=1e-5)


def test_every_model_decodes_the_same_draws_from_the_prior() -> None:
    taken = kept_images()
    whole = taken.prior_samples[0] < 255  # what lies above the highest value is cut off
    np.testing.assert_allclose(taken.prior_samples[1][whole], taken.prior_samples[0][whole] / 2, atol=1)
    assert 0.3 < np.mean(taken.prior_samples[0] == 0) < 0.7, "half of the draws are negative, below the lowest value"


def test_a_traversal_moves_one_latent_the_most_informative_first() -> None:
    taken = kept_images()
    assert taken.latents.tolist() == [3, 2, 1, 0]
    kl = 0.5 * (np.mean(IMAGES["test"].reshape(6, 4) ** 2, axis=0) - 1 - NO_NOISE)
    np.testing.assert_allclose(taken.latent_kl, kl[::-1], rtol=1e-6)
    assert taken.values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    expected = np.repeat(taken.originals[:1], 7, axis=0)[..., 0]  # the first row's latents are its pixels
    expected[:, 1, 1] = [0, 0, 0, 0, 255, 255, 255]
    np.testing.assert_array_equal(taken.traversal[0, ..., 0], expected)


def test_logits_become_pixels() -> None:
    taken = kept_images("bernoulli")
    np.testing.assert_allclose(taken.reconstructions[0, ..., 0], 255 / (1 + np.exp(-IMAGES["test"])), atol=0.51)


def test_validation_stands_in_for_a_test_split_without_rows() -> None:
    taken = kept_images(test=np.zeros((0, 2, 2), np.float32))
    assert (taken.split, len(taken.originals)) == ("validation", 5)


def test_few_rows_are_kept_and_large_images_are_made_smaller_by_averaging_blocks() -> None:
    rows = np.zeros((40, 100, 120), np.float32)
    rows[:, ::2, ::2] = 1.0
    model = flat_member(np.zeros((12000, 1)), np.zeros((1, 12000)))
    taken = take_samples(
        flat_network((100, 120), 1),
        Objective(),
        {"train": 1 - rows, "validation": rows, "test": rows},
        {"a": model},
    )
    assert isinstance(taken, ImageSamples)
    assert taken.originals.shape == (8, 50, 60, 1)
    assert set(taken.originals.ravel().tolist()) == {64}, "a quarter of each block of four is white"
    assert taken.traversal.shape == (1, 7, 50, 60, 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28), (28, 28, 1)),
        ((28, 28, 1), (28, 28, 1)),
        ((9, 30, 3), (9, 30, 3)),
        ((9, 9, 4), None),
        ((200, 3), None),
    ],
)
def test_which_rows_are_images(shape: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    assert image_shape(shape) == expected


def test_rows_of_other_shapes_leave_nothing() -> None:
    rows = np.ones((4, 2, 2, 2), np.float32)
    model = flat_member(np.zeros((8, 1)), np.zeros((1, 8)))
    splits = {"train": rows, "validation": rows, "test": rows}
    assert take_samples(flat_network((2, 2, 2), 1), Objective(), splits, {"a": model}) is None


TABLE = {
    "train": np.array([[0, 0, 5], [2, 2, 5]], np.float32),
    "validation": np.array([[0, 0, 5]], np.float32),
    "test": np.array([[0, 3, 5], [2, 1, 5]], np.float32),
}


def test_columns_are_ranked_by_what_the_first_model_leaves_of_them_and_constant_ones_left_out() -> None:
    # The first model loses the second column: it gives 0 for 3 and 1, where the mean is 1: (9 + 1) / (4 + 0).
    models = {
        "trial 3": flat_member(np.eye(3), np.diag([1.0, 0, 1])),
        "before": flat_member(np.eye(3), np.diag([0.0, 1, 1])),
    }
    taken = take_samples(flat_network((3,), 3), Objective(), TABLE, models, columns=("a", "b", "c"))
    assert isinstance(taken, ColumnErrors)
    assert (taken.columns, taken.of) == (("b", "a"), 2)
    np.testing.assert_allclose(taken.unexplained, [[2.5, 0.0], [0.0, 2.0]], atol=1e-6)


def test_of_many_columns_the_worst_and_the_best_are_kept() -> None:
    rng = np.random.default_rng(1)
    splits = {name: rng.normal(size=(50, 60)).astype(np.float32) for name in ("train", "validation", "test")}
    model = flat_member(np.eye(60), np.diag(np.linspace(0, 1, 60)))
    taken = take_samples(flat_network((60,), 60), Objective(), splits, {"a": model})
    assert isinstance(taken, ColumnErrors)
    assert (taken.of, taken.unexplained.shape) == (60, (1, 40))
    assert taken.columns[-1] == "column 60"
    assert np.all(np.diff(taken.unexplained[0]) <= 0)


def test_columns_average_to_the_measure_that_trials_are_judged_by() -> None:
    rng = np.random.default_rng(2)
    splits = {name: rng.normal(size=(600, 5)).astype(np.float32) for name in ("train", "validation", "test")}
    model = flat_member(rng.normal(size=(5, 3)), 0.3 * rng.normal(size=(3, 5)), log_var=-0.5)
    network = flat_network((5,), 3)
    taken = take_samples(network, Objective(), splits, {"a": model})
    assert isinstance(taken, ColumnErrors)
    of_mean = np.sum((splits["test"] - splits["train"].mean(axis=0)) ** 2, axis=0)
    weights = of_mean[[int(name.removeprefix("column ")) - 1 for name in taken.columns]]
    (measured,) = Evaluator(network, splits, Objective()).measure(model, "test")
    assert np.average(taken.unexplained[0], weights=weights) == pytest.approx(measured.unexplained, rel=1e-5)


def test_missing_pixels_are_shown_as_the_training_mean_and_missing_values_not_measured() -> None:
    rows = IMAGES["test"].copy()
    rows[0, 1, 1] = np.nan
    taken, whole = kept_images(test=rows), kept_images()
    shown = np.rint(IMAGES["train"][:, 1, 1].mean() * 255)
    assert taken.originals[0, 1, 1] == pytest.approx(shown, abs=1)
    assert taken.originals[1:].tobytes() == whole.originals[1:].tobytes()
    known, mean = rows.reshape(6, 4), IMAGES["train"].reshape(30, 4).mean(axis=0)
    unit = np.nansum((known - mean) ** 2) / 6
    np.testing.assert_allclose(taken.unexplained[1], np.nansum((known / 2) ** 2, axis=1) / unit, rtol=1e-5)


def test_the_errors_of_a_column_are_those_of_its_known_values() -> None:
    splits = {name: rows.reshape(-1, 4).copy() for name, rows in IMAGES.items()}
    splits["test"][:3, 2] = np.nan
    taken = take_samples(flat_network((4,), 4), Objective(), splits, MODELS, columns=("a", "b", "c", "d"))
    assert isinstance(taken, ColumnErrors)
    known, mean = splits["test"][3:, 2], splits["train"][:, 2].mean()
    of_c = taken.unexplained[1, taken.columns.index("c")]
    assert of_c == pytest.approx(np.sum((known / 2) ** 2) / np.sum((known - mean) ** 2), rel=1e-5)


@pytest.mark.parametrize("shape", [(500, 2), (30, 30), (40,)])
def test_series_are_kept_beside_their_reconstructions(shape: tuple[int, ...]) -> None:
    """Rows that could be images or tables are kept as series where they are said to be some."""
    rows = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    rows[0, 3] = np.nan
    features = math.prod(shape)
    models = {"a": flat_member(np.eye(features), np.eye(features))}
    splits = {"train": rows, "validation": rows, "test": rows}
    taken = take_samples(flat_network(shape, features), Objective(), splits, models, as_series=shape != (500, 2))
    assert isinstance(taken, SeriesSamples)
    kept = rows[:4].reshape(4, shape[0], -1)[:, taken.steps][..., :3]
    np.testing.assert_array_equal(taken.originals, kept.astype(float))
    known = ~np.isnan(kept)
    np.testing.assert_allclose(taken.reconstructions[0][known], kept[known], atol=1e-5)
    assert len(taken.steps) == min(shape[0], 200) and taken.steps[-1] == shape[0] - 1
    assert taken.prior_samples.shape == taken.reconstructions.shape
