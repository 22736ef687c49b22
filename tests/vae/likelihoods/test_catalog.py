"""What holds of every likelihood that a definition can name."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.likelihoods.categorical import CATEGORICAL
from klsearch.vae.likelihoods.counts.counts import CountLikelihood
from klsearch.vae.likelihoods.likelihood import Likelihood

ROOT = Path(__file__).parents[3]
COUNTS = tf.constant([[0.0, 1.0, 3.0], [12.0, 0.0, 2.0]])
TOKENS = tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
VALUES = tf.constant([[0.0, 1.0, 0.25], [1.0, 0.0, 0.5]])

each_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)


def rows_of(likelihood: Likelihood) -> tf.Tensor:
    """Two rows of three values that it can score."""
    if likelihood is CATEGORICAL:
        return TOKENS
    return COUNTS if isinstance(likelihood, CountLikelihood) else VALUES


def moved(likelihood: Likelihood, rows: tf.Tensor) -> tf.Tensor:
    """A reconstruction that is near but wrong."""
    return (rows + 0.01) / 1.03 if likelihood is CATEGORICAL else rows * 1.01 + 0.01


def output_of(likelihood: Likelihood) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(2, 3 * likelihood.outputs)), tf.float32)


@each_likelihood
def test_the_error_in_plain_keras_is_the_error(likelihood: Likelihood) -> None:
    rows, output = rows_of(likelihood), output_of(likelihood)
    values = dict(zip(likelihood.all_parts, likelihood.split(output), strict=True))
    names = {"ops": keras.ops, "math": math, "tf": tf, "rows": rows, **values}
    *assignments, expression = likelihood.keras_error.splitlines()
    exec("\n".join(assignments), names)
    assert np.asarray(eval(expression, names)) == pytest.approx(likelihood.error(rows, output).numpy(), rel=1e-5)


@each_likelihood
def test_the_reconstruction_in_plain_keras_is_the_mean(likelihood: Likelihood) -> None:
    rows, flat = rows_of(likelihood), output_of(likelihood)
    output = flat if likelihood.outputs == 1 else tf.reshape(flat, [2, 3, likelihood.outputs])
    expression = likelihood.keras_mean_of((3,)) or "output"
    exported = eval(expression, {"keras": keras, "output": output, "rows": rows})
    assert np.asarray(exported) == pytest.approx(likelihood.mean(flat, rows).numpy(), rel=1e-6)


@each_likelihood
@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3)], ids=["series", "images"])
def test_the_reconstruction_in_plain_keras_is_the_mean_of_rows_of_several_axes(
    likelihood: Likelihood, shape: tuple[int, ...]
) -> None:
    of_shape = likelihood.for_rows(shape)
    rows = tf.tile(rows_of(likelihood), [1, 2])
    flat = tf.constant(np.random.default_rng(1).normal(size=(2, 6 * likelihood.outputs)), tf.float32)
    parts = () if likelihood.outputs == 1 else (likelihood.outputs,)
    given = {"keras": keras, "output": tf.reshape(flat, [2, *shape, *parts]), "rows": tf.reshape(rows, [2, *shape])}
    exported = eval(of_shape.keras_mean_of(shape) or "output", given)
    assert np.asarray(exported).reshape(2, 6) == pytest.approx(of_shape.mean(flat, rows).numpy(), rel=1e-5)


@each_likelihood
def test_the_gradient_of_the_error_is_that_of_its_finite_differences(likelihood: Likelihood) -> None:
    rows, output = (tf.cast(values, tf.float64) for values in (rows_of(likelihood), output_of(likelihood)))
    exact, numeric = tf.test.compute_gradient(lambda at: likelihood.error(rows, at), [output], delta=1e-5)
    assert exact[0] == pytest.approx(numeric[0], rel=1e-5, abs=1e-8)


@each_likelihood
def test_no_reconstruction_is_nearer_than_the_row_itself(likelihood: Likelihood) -> None:
    rows = rows_of(likelihood)
    itself = likelihood.deviance.between(rows, rows, tf.ones([3])).numpy()
    wrong = likelihood.deviance.between(moved(likelihood, rows), rows, tf.ones([3])).numpy()
    assert itself == pytest.approx(np.zeros((2, 3)), abs=1e-5)
    counted = rows.numpy() > 0 if likelihood is CATEGORICAL else np.full(rows.shape, True)
    assert np.all(wrong[counted] > itself[counted])


@each_likelihood
def test_the_pages_and_the_template_tell_of_it(likelihood: Likelihood) -> None:
    for page in ("studies/template.toml", "studies/README.md"):
        assert f'"{likelihood.name}"' in (ROOT / page).read_text(encoding="utf-8"), page
