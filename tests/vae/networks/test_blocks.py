"""What the networks of every kind are built of."""

import keras
import numpy as np
import pytest

from klsearch.vae.networks.blocks import condition_inputs, logged, model_of, output_shape, series_shape, told


@pytest.mark.parametrize(("shape", "expected"), [((40,), (40, 1)), ((40, 3), (40, 3))])
def test_a_table_is_a_series_of_one_channel(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert series_shape(shape) == expected


def test_several_numbers_for_each_value_stand_on_a_last_axis() -> None:
    assert (output_shape((4, 2), 1), output_shape((4, 2), 3)) == ((4, 2), (4, 2, 3))


@pytest.mark.parametrize("width", [0, 3])
def test_what_is_told_stands_beside_the_features_and_is_a_second_input(width: int) -> None:
    inputs, condition = keras.Input((5,)), condition_inputs(width)
    features = told(inputs, condition)
    assert features.shape == (None, 5 + width)
    model = model_of(inputs, condition, keras.layers.Dense(2)(features), "encoder")
    assert [tuple(one.shape) for one in model.inputs] == [(None, 5), *([(None, 3)] if width else [])]


@pytest.mark.parametrize(
    "places", [True, False, (False, False, False), (True, True, True), (False, True, False), (True, False, True)]
)
def test_the_logarithm_is_taken_of_the_columns_that_ask_for_it(places: bool | tuple[bool, ...]) -> None:
    inputs = keras.Input((3,))
    rows = np.array([[3.0, 0.0, 7.0], [1.0, 2.0, 0.0]], np.float32)
    found = keras.Model(inputs, keras.layers.Identity()(logged(inputs, places)))(rows)
    assert np.asarray(found) == pytest.approx(np.where(places, np.log1p(rows), rows))
