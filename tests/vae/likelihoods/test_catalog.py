"""What holds of every likelihood that a definition can name."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.likelihoods.likelihood import Likelihood

ROOT = Path(__file__).parents[3]
ROWS = tf.constant([[0.0, 1.0, 0.25], [1.0, 0.0, 0.5]])
OUTPUT = tf.constant([[0.5, -1.0, 2.0], [3.0, 0.1, -0.5]])

each_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)


@each_likelihood
def test_the_error_in_plain_keras_is_the_error(likelihood: Likelihood) -> None:
    names = {"ops": keras.ops, "rows": ROWS, "output": OUTPUT}
    exported = eval(likelihood.keras_error, names)
    assert np.asarray(exported) == pytest.approx(likelihood.error(ROWS, OUTPUT).numpy(), rel=1e-5)


@each_likelihood
def test_the_reconstruction_in_plain_keras_is_the_mean(likelihood: Likelihood) -> None:
    exported = OUTPUT if likelihood.keras_mean is None else eval(likelihood.keras_mean, {"keras": keras})(OUTPUT)
    assert np.asarray(exported) == pytest.approx(likelihood.mean(OUTPUT).numpy(), rel=1e-6)


@each_likelihood
def test_no_output_is_better_than_one_whose_mean_is_the_row(likelihood: Likelihood) -> None:
    rows = tf.constant([0.2, 0.5, 0.9])
    outputs = tf.constant(np.linspace(-6, 6, 4801)[:, np.newaxis], tf.float32)
    best = tf.gather(outputs[:, 0], tf.argmin(likelihood.error(rows, outputs + tf.zeros([1, 3])), axis=0))
    assert likelihood.mean(best).numpy() == pytest.approx(rows.numpy(), abs=2e-3)


@each_likelihood
def test_the_pages_and_the_template_tell_of_it(likelihood: Likelihood) -> None:
    for page in ("studies/template.toml", "studies/README.md"):
        assert f'"{likelihood.name}"' in (ROOT / page).read_text(encoding="utf-8"), page
