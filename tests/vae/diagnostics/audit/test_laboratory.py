"""Steps that nothing is learned from, and models that cannot be examined."""

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
