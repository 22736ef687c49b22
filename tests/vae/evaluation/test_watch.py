"""What is seen of a user's model while they train it."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.evaluation.watch import Watch
from tests.vae.diagnostics.audit.styles import ROWS, KerasExample, Sampling, dense_decoder, dense_encoder


def example(**changes: Any) -> KerasExample:
    return KerasExample(dense_encoder(**changes), dense_decoder())


def test_kl_active_latents_and_error_are_those_of_the_models_own_outputs() -> None:
    model = example()
    found = Watch(model, ROWS, count=64).take()
    mean, log_var, _ = (output.numpy().astype(np.float64) for output in model.encoder(ROWS))
    kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var)
    assert found.kl_per_latent == pytest.approx(kl.mean(axis=0), rel=1e-5)
    assert found.active_units == int(np.sum(mean.var(axis=0) >= 0.01))
    noise = np.random.default_rng(0).normal(size=mean.shape)
    decoded = model.decoder((mean + np.exp(0.5 * log_var) * noise).astype(np.float32)).numpy()
    errors = np.sum((ROWS - decoded) ** 2, axis=1)
    assert found.reconstruction == pytest.approx(errors.mean(), rel=1e-5)
    assert found.unexplained == pytest.approx(errors.sum() / np.sum((ROWS - ROWS.mean(axis=0)) ** 2), rel=1e-5)
    assert math.isnan(found.elbo)


class Encoder(keras.layers.Layer):
    """In the style of the Keras guide: a layer of layers, which samples inside and shows no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.z_mean, self.z_log_var, self.sampling = keras.layers.Dense(3), keras.layers.Dense(3), Sampling()

    def call(self, inputs: Any) -> Any:
        mean, log_var = self.z_mean(inputs), self.z_log_var(inputs)
        return mean, log_var, self.sampling([mean, log_var])


def unnamed() -> keras.Model:
    rows = keras.Input((36,))
    mean, log_var = keras.layers.Dense(3)(rows), keras.layers.Dense(3)(rows)
    return keras.Model(rows, [mean, log_var, Sampling()([mean, log_var])])


def built(encoder: Any) -> KerasExample:
    encoder(ROWS)
    return KerasExample(encoder, dense_decoder())


MODELS: dict[str, Callable[[], KerasExample]] = {
    "named heads": lambda: example(dropout=0.5),
    "unnamed heads": lambda: built(unnamed()),
    "without a graph": lambda: built(Encoder()),
}


@pytest.mark.parametrize("style", MODELS)
def test_looking_again_sees_the_same_and_changes_nothing_of_the_model(style: str) -> None:
    model = MODELS[style]()
    before = [variable.numpy() for variable in model.variables]
    watch = Watch(model, ROWS, count=64)
    first, second = watch.take(), watch.take()
    np.testing.assert_array_equal(first.kl_per_latent, second.kl_per_latent)
    assert first.reconstruction == second.reconstruction
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_of_logits_the_probabilities_are_compared_with_the_rows() -> None:
    z = keras.Input((3,))
    logits = keras.layers.Dense(36, bias_initializer=keras.initializers.Constant(2.0), kernel_initializer="zeros")(z)
    model = KerasExample(dense_encoder(), keras.Model(z, logits))
    expected = np.mean(np.sum((ROWS - 1 / (1 + math.exp(-2))) ** 2, axis=1))
    assert Watch(model, ROWS, count=64, logits=True).take().reconstruction == pytest.approx(expected, rel=1e-5)


def test_the_share_at_a_clip_bound_is_counted_where_the_user_says_that_there_is_one() -> None:
    model = example()
    log_var = model.encoder(ROWS)[1].numpy()
    middle = float(np.median(log_var))
    found = Watch(model, ROWS, count=64, clip=(-20.0, middle)).take()
    assert found.clip_share_high == pytest.approx(np.mean(log_var >= np.float32(middle)))
    assert (found.clip_share_low, Watch(model, ROWS, count=64).take().clip_share_high) == (0, 0)


def test_a_look_that_takes_too_long_for_its_rows_is_at_fewer_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(example(), ROWS, count=64)
    monkeypatch.setattr(watch, "_time_look", lambda: (watch.count - 16) / 1000)
    watch.spare(1.0)
    assert watch.count == 64
    watch.spare(0.032)
    assert watch.count == 48
    watch.spare(0.001)
    assert watch.count == 32
    assert np.isfinite(watch.take().kl)


def test_rows_stay_as_many_where_calling_the_model_is_what_takes_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(example(), ROWS, count=64)
    monkeypatch.setattr(watch, "_time_look", lambda: 0.01 + watch.count / 10_000)
    watch.spare(0.001)
    assert watch.count == 64


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        (example(), ROWS[:31], "rows must be 32 rows or more, all of finite numbers"),
        (example(), np.full((40, 36), np.nan), "rows must be 32 rows or more, all of finite numbers"),
        (example(), ROWS[:, :35], "takes rows of shape"),
        (KerasExample(dense_encoder(), dense_decoder(latents=4)), ROWS, "the decoder must take"),
        (keras.Sequential([keras.layers.Dense(3)]), ROWS, "holds none"),
        (lambda: example(), ROWS, "holds none"),
    ],
)
def test_what_cannot_be_watched_is_refused_with_the_reason(model: Any, rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Watch(model, rows, count=64)


def with_condition() -> KerasExample:
    rows, told = keras.Input((36,)), keras.Input((2,))
    heads = [keras.layers.Dense(3, name=name)(keras.layers.concatenate([rows, told])) for name in ("mean", "log_var")]
    return KerasExample(keras.Model([rows, told], heads, name="told"), dense_decoder())


def test_a_model_with_a_condition_is_refused_with_what_there_is_instead() -> None:
    with pytest.raises(
        ValueError, match=r"'told' takes 2 inputs: .* cannot be watched; .* `klsearch diagnose`"
    ) as said:
        Watch(with_condition(), ROWS, count=64)
    assert "data.condition" not in str(said.value)


def test_of_rows_that_the_decoder_cannot_give_it_is_said_that_they_are_those_watched() -> None:
    sigmoid = keras.Sequential([keras.Input((3,)), keras.layers.Dense(36, "sigmoid")])
    notes = Watch(KerasExample(dense_encoder(), sigmoid), 255 * np.abs(ROWS), count=64).notes
    (note,) = [one for one in notes if "decoder" in one]
    assert "but the watched rows reach from" in note
    assert note.endswith("end it in no activation, or scale all rows to [0, 1]")


def test_what_was_guessed_of_the_model_is_noted() -> None:
    rows = keras.Input((36,))
    heads = [keras.layers.Dense(3, name=name)(rows) for name in ("z_mean", "z_log_sigma")]
    model = KerasExample(keras.Model(rows, heads), dense_decoder())
    assert any("'z_log_sigma' is taken for a log-variance" in note for note in Watch(model, ROWS, count=64).notes)
    heads = [heads[0], keras.layers.Dense(3, activation="softplus", name="z_log_var")(rows)]
    model = KerasExample(keras.Model(rows, heads), dense_decoder())
    assert any("z_log_var" in note for note in Watch(model, ROWS, count=64).notes)
