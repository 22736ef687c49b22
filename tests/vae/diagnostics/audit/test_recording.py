"""Gradients of a step, as the loss gives them and as an optimizer gets them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.diagnostics.audit.laboratory import AuditProblem, Laboratory
from klsearch.vae.diagnostics.audit.recording import Recording, optimizers_of
from tests.vae.diagnostics.audit.styles import ROWS, variant


@pytest.mark.parametrize("name", ["clipped gradients", "gradients clipped each"])
def test_gradients_that_are_clipped_before_the_optimizer_are_those_of_the_loss(name: str) -> None:
    keras.utils.set_random_seed(0)
    plain = Laboratory(variant(""), ROWS)
    keras.utils.set_random_seed(0)
    clipped = Laboratory(variant(name), ROWS)
    with plain.experiment(), clipped.experiment():
        pair = plain.step().of(plain.mean.bias), clipped.step().of(clipped.mean.bias)
    assert np.allclose(*pair, rtol=1e-5)
    assert (plain.alters_gradients, clipped.alters_gradients) == (False, True)


def told(applied: float, *taped: float) -> tuple[float, bool]:
    tapes = {1: [tf.constant([each], tf.float64) for each in taped]} if taped else {}
    step = Recording({1: tf.constant([applied], tf.float64)}, tapes).step()
    return float(step.gradients[1][0]), step.is_altered


def test_of_several_tapes_the_one_that_is_applied_counts_or_their_sum() -> None:
    assert told(3.0, 3.0) == (3.0, False)
    assert told(3.0, 3.0, 7.0) == (3.0, False), "the other is only logged"
    assert told(10.0, 3.0, 7.0) == (10.0, False), "the terms of a loss"
    assert told(0.1, 3.0, 7.0) == (10.0, True)
    assert told(0.1, 3.0, 3.0) == (3.0, True), "the same one asked for twice"
    assert told(0.1) == (0.1, False), "no tape was seen"


def test_tapes_and_optimizers_are_theirs_again_afterwards() -> None:
    before = tf.GradientTape.gradient
    model = variant("two optimizers")
    assert len(optimizers_of(model)) == 3
    lab = Laboratory(model, ROWS)
    with lab.experiment():
        lab.step()
    assert tf.GradientTape.gradient is before
    assert not any("apply" in vars(optimizer) for optimizer in lab.optimizers)


def test_a_model_whose_optimizer_is_held_elsewhere_cannot_be_examined() -> None:
    model = variant("two optimizers")
    hidden = keras.optimizers.SGD(0.0)
    model.others = {}
    model.train_step = lambda data: hidden.apply([tf.zeros(w.shape) for w in model.weights[:1]], model.weights[:1])
    with pytest.raises(AuditProblem, match="gives gradients to no optimizer that the model holds"):
        Laboratory(model, ROWS)


@pytest.mark.parametrize("name", ["decodes the prior too", "decodes the mean too"])
def test_the_z_of_the_loss_is_kept_whatever_is_decoded_beside_it(name: str) -> None:
    lab = Laboratory(variant(name), ROWS)
    with lab.experiment():
        lab.hold_latents(3.0, 0.0)
        z = lab.step().z
    assert z is not None
    assert (z.mean(), z.std()) == (pytest.approx(3.0, abs=0.3), pytest.approx(1.0, abs=0.3))
