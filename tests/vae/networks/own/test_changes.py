"""What was changed in a layer is put back, last first."""

import keras
import numpy as np

from klsearch.vae.networks.own.changes import note_change, undo_changes, variables_kept


def test_changes_of_all_layers_are_put_back_once_and_last_first() -> None:
    done: list[int] = []
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    for number in range(3):
        note_change(model.layers[0], lambda number=number: done.append(number))  # type: ignore[misc]
    note_change(model.layers[1], lambda: done.append(7))
    undo_changes(model)
    assert sorted(done) == [0, 1, 2, 7]
    assert [number for number in done if number < 7] == [2, 1, 0]
    undo_changes(model)
    assert len(done) == 4


def test_variables_hold_after_the_block_what_they_held_before() -> None:
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    with variables_kept(layer):
        layer(np.full((8, 3), 7.0), training=True)
        assert float(layer.moving_mean[0]) > 0
    assert float(layer.moving_mean[0]) == 0
    assert float(layer.moving_variance[0]) == 1
