"""Missing values: what stands in for them, and that nothing is computed where there are none."""

import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.data.gaps import Gaps, have_gaps, known_moments

NAN = np.nan
TRAIN = np.array([[0, 1], [2, NAN], [4, 5]], np.float32)
OTHER = np.array([[NAN, 9], [7, NAN]], np.float32)
GAPS = Gaps({"train": TRAIN, "validation": OTHER})
WHOLE = Gaps({"train": TRAIN[::2], "validation": TRAIN[::2]})


@pytest.mark.parametrize(("rows", "have"), [(TRAIN, True), (TRAIN[::2], False), (np.ones((2, 2), np.uint8), False)])
def test_only_missing_values_are_gaps(rows: np.ndarray, have: bool) -> None:
    assert have_gaps(rows) is have


def test_moments_are_those_of_the_known_values() -> None:
    mean, deviation = known_moments(TRAIN)
    assert mean.tolist() == [2, 3]
    assert deviation == pytest.approx([np.sqrt(8 / 3), 2])
    mean, deviation = known_moments(TRAIN, axis=None)
    assert mean == pytest.approx(12 / 5)
    assert deviation == pytest.approx(np.std([0, 1, 2, 4, 5]))


def test_moments_of_whole_rows_have_the_bits_of_numpy_s() -> None:
    rows = np.random.default_rng(0).normal(size=(999, 7)).astype(np.float32)
    mean, deviation = known_moments(rows)
    assert mean.tobytes() == rows.mean(axis=0, dtype=np.float64).tobytes()
    assert deviation.tobytes() == rows.std(axis=0, dtype=np.float64).tobytes()


def test_gaps_of_every_split_hold_the_training_mean() -> None:
    assert GAPS.fill(TRAIN).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert GAPS.fill(OTHER).tolist() == [[2, 9], [7, 3]]


def test_what_was_computed_for_a_gap_counts_nothing() -> None:
    assert GAPS.leave_out(np.full((5, 2, 2), 3.0), OTHER).tolist() == [[[0, 3], [3, 0]]] * 5
    assert GAPS.known_share(OTHER) == 0.5
    assert GAPS.known_share(TRAIN) == pytest.approx(5 / 6)


def test_programs_are_given_filled_rows_and_what_is_known_of_them() -> None:
    rows, known = GAPS.separate(tf.constant([OTHER, OTHER[::-1]]))
    assert rows.numpy().tolist() == [[[2, 9], [7, 3]], [[7, 3], [2, 9]]]
    assert known is not None and known.numpy().tolist() == [[[0, 1], [1, 0]], [[1, 0], [0, 1]]]


def test_without_gaps_nothing_is_computed_for_them() -> None:
    rows, values = tf.constant(TRAIN), np.ones((3, 2))
    separated, known = WHOLE.separate(rows)
    assert separated is rows and known is None
    assert WHOLE.fill(TRAIN) is TRAIN
    assert WHOLE.leave_out(values, TRAIN) is values
    assert WHOLE.known_share(TRAIN) == 1
