"""Curves of a trial: their shape, their order, their end."""

from dataclasses import replace

import numpy as np
import pytest

from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves

ROWS = np.arange(30, dtype=np.float32).reshape(3, 10)


def test_curves_and_rows_are_the_same_numbers() -> None:
    curves = TrainingCurves.from_rows(ROWS)
    assert curves.epochs == 3
    assert curves.kl.tolist() == [0, 10, 20]
    assert curves.nonfinite_steps.tolist() == [9, 19, 29]
    np.testing.assert_array_equal(curves.as_rows(), ROWS)


def test_the_latest_values_are_those_of_the_last_epoch() -> None:
    assert TrainingCurves.from_rows(ROWS).latest() == {name: 20 + i for i, name in enumerate(CURVE_NAMES)}


def test_before_the_first_epoch_there_is_nothing_to_tell() -> None:
    curves = TrainingCurves.from_rows(np.empty((0, 10)))
    assert curves.epochs == 0
    assert curves.latest() == {}
    assert not curves.diverged


@pytest.mark.parametrize("count", [1, 25])
def test_one_step_that_is_not_finite_is_a_divergence(count: int) -> None:
    rows = np.zeros((3, 10))
    rows[1, CURVE_NAMES.index("nonfinite_steps")] = count
    assert TrainingCurves.from_rows(rows).diverged


@pytest.mark.parametrize(
    "total",
    [np.zeros(2, np.float32), np.zeros((3, 1), np.float32), np.zeros(3, np.float64)],
    ids=lambda a: str(a.dtype),
)
def test_a_curve_of_another_shape_or_type_is_refused(total: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"total must be float32 of shape \[T\] with T=3, but is "):
        replace(TrainingCurves.from_rows(ROWS), total=total)
