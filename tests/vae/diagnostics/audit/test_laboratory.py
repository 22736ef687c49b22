"""Steps that nothing is learned from, and models that cannot be examined."""

from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.diagnostics.audit.laboratory import AuditProblem, Laboratory
from tests.vae.diagnostics.audit.styles import ROWS, SOUND, KerasExample, compiled, dense_decoder, dense_encoder


def test_a_step_has_the_same_noise_every_time_and_changes_no_weight() -> None:
    model = SOUND["Keras example"]()
    lab = Laboratory(model, ROWS)
    before = [np.copy(variable.numpy()) for variable in model.variables]
    with lab.experiment():
        assert lab.step().distance(lab.step()) == 0
    after = [variable.numpy() for variable in model.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (keras.Sequential([keras.layers.Dense(3)]), "no attribute 'encoder'"),
        (KerasExample(dense_encoder(), dense_decoder()), "not compiled"),
        (compiled(KerasExample(dense_encoder(), keras.Sequential([keras.layers.Dense(7)]))), "train_step failed"),
    ],
)
def test_a_model_that_cannot_be_examined_is_refused_in_one_line(model: keras.Model, said: str) -> None:
    with pytest.raises(AuditProblem, match=said) as refused:
        Laboratory(model, ROWS)
    assert "\n" not in str(refused.value)


def test_rows_of_another_size_are_refused() -> None:
    with pytest.raises(AuditProblem, match="rows of shape"):
        Laboratory(SOUND["Keras example"](), ROWS[:, :5])


def test_encoder_and_decoder_may_be_held_under_other_names() -> None:
    model, other = SOUND["Keras example"](), SOUND["Keras example"]()
    lab = Laboratory(model, ROWS, (), (other.encoder, model.decoder))
    assert (lab.encoder, lab.decoder) == (other.encoder, model.decoder)


def test_a_step_that_takes_labels_is_refused_with_what_it_was_given() -> None:
    model = SOUND["Keras example"]()

    def train_step(data: Any) -> Any:
        rows, labels = data
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, rows))

    model.train_step = train_step
    with pytest.raises(
        AuditProblem, match=r"given rows: .*; given \(rows, rows\): .*; labels, or a condition"
    ) as refused:
        Laboratory(model, ROWS)
    assert "\n" not in str(refused.value)


def test_the_count_of_an_optimizer_that_gathers_batches_can_be_set() -> None:
    model = SOUND["Keras example"]()
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=4))
    lab = Laboratory(model, ROWS)
    with lab.experiment():
        lab.set_time(1000)
        assert int(model.optimizer.iterations) == 1000
    assert int(model.optimizer.iterations) == 0
