"""The layers of z_mean and z_log_var."""

import keras

from klsearch.vae.diagnostics.audit.heads import find_heads
from tests.vae.diagnostics.audit.styles import SOUND


def test_the_heads_are_known_by_name_or_order() -> None:
    heads = find_heads(SOUND["recurrent"]().encoder)
    assert heads is not None
    assert [head.name for head in heads] == ["mu", "logvar"]


def test_an_encoder_of_one_output_has_none() -> None:
    rows = keras.Input((4,))
    assert find_heads(keras.Model(rows, keras.layers.Dense(3)(rows))) is None


def test_heads_behind_a_layer_of_several_inputs_are_known_by_their_names() -> None:
    rows = keras.Input((4,))
    mean, log_var = (keras.layers.Dense(2, name=name)(rows) for name in ("mu", "log_var"))
    out = keras.layers.Lambda(lambda both: [both[0], both[1]])([mean, log_var])
    heads = find_heads(keras.Model(rows, out))
    assert heads is not None
    assert [head.name for head in heads] == ["mu", "log_var"]
