"""What the user of data is warned of."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from klsearch.vae.data.cautions import CHANNELS, Caution, caution_of_labels, cautions_of, channels_first
from klsearch.vae.data.readers.raw import RawData
from klsearch.vae.data.scaling import fit_scaling

TABLE = np.random.default_rng(1).normal(size=(40, 3))


def test_a_caution_is_a_line_that_keeps_its_code_in_every_copy() -> None:
    caution = Caution("few rows", "few-rows")
    copies = [caution, copy.deepcopy(caution), pickle.loads(pickle.dumps(caution))]
    assert [(f"warning: {one}", one.code) for one in copies] == 3 * [("warning: few rows", "few-rows")]


def warnings(rows: np.ndarray, *, scaling: str = "none", **values: Any) -> tuple[Caution, ...]:
    """What is warned of where the first three quarters of the rows train."""
    train = rows[: len(rows) * 3 // 4]
    return cautions_of(RawData(name="rows.npy", rows=rows, **values), train, fit_scaling(scaling, train))


def test_constant_pixels_are_no_matter_of_warning() -> None:
    images = np.random.default_rng(0).random((20, 4, 4))
    images[:, 0] = 0
    assert warnings(images) == ()


@pytest.mark.parametrize(
    ("factor", "what"),
    [
        ((1e6, 1, 1), "reach 1e+06"),
        ((1, 1, -101), "reach 101"),
        ((1, 100, 1), None),
        ((50, 1e-3, 1), "vary 5e+04 times"),
        ((1, 1 / 900, 1), None),
        ((1, 1, 0), None),  # a constant column has no scale to compare
    ],
)
def test_a_huge_range_left_unscaled_is_warned_of(factor: tuple[float, ...], what: str | None) -> None:
    """Every column is 1 and −1 in turn, so that its factor is its standard deviation and what it reaches."""
    rows = np.array([[1.0], [-1.0]] * 20) * factor
    told = [line for line in warnings(rows) if "common cause of exploding KL" in line]
    assert len(told) == (what is not None)
    assert what is None or f"values {what}" in told[0]
    assert warnings(rows, scaling="standard") == tuple(line for line in warnings(rows) if line not in told)


def test_values_far_below_zero_are_a_huge_range_too() -> None:
    (line,) = warnings(TABLE - 1000)
    assert line.startswith("values reach 1e+03 and are not scaled")


def test_images_of_very_different_pixels_are_no_matter_of_warning() -> None:
    images = TABLE[:, :2, np.newaxis] * np.array([1.0, 1e-5]).reshape(2, 1)
    assert warnings(images) == ()


def test_duplicate_rows_are_counted() -> None:
    rows = np.concatenate([TABLE, TABLE[:5], TABLE[:1]])
    assert warnings(rows) == ("6 of 46 rows repeat an earlier one; copies may lie in different splits",)


def test_constant_columns_are_named_five_of_them_at_most() -> None:
    constant = np.column_stack([np.full((40, 7), 0.5), TABLE])
    (line,) = warnings(constant)
    assert line.endswith("so they carry nothing and keep scale 1: columns 0, 1, 2, 3, 4 and 2 more")
    names = tuple("abcdefghij")
    assert warnings(constant[:, 5:], columns=names[5:])[0].endswith("columns 'f', 'g'")


def test_a_column_that_varies_in_held_out_rows_alone_is_constant_where_it_matters() -> None:
    rows = TABLE.copy()
    rows[:30, 1] = 2.0
    assert [line.split(": columns ")[1] for line in warnings(rows)] == ["1"]


def test_what_the_reader_recognised_is_no_warning() -> None:
    assert warnings(TABLE, notes=("two columns were left out",)) == ()


def codes(rows: np.ndarray, *, scaling: str = "standard") -> list[str]:
    return [caution.code for caution in warnings(rows, scaling=scaling)]


def test_one_hot_blocks_are_told_with_their_columns_or_their_width_and_padding() -> None:
    rng = np.random.default_rng(0)
    rows = np.eye(5)[rng.integers(0, 5, size=(200, 6))].reshape(200, 30)
    mixed = np.concatenate([rng.normal(size=(200, 1)), rows[:, :5], np.eye(3)[rng.integers(0, 3, size=200)]], axis=1)
    assert any(
        "columns 1, 2, 3, 4, 5 and 1 more such blocks hold one 1 in every row" in line for line in warnings(mixed)
    )
    assert any("columns 0, 1, 2, 3, 4 and 5 more such blocks" in line for line in warnings(rows))
    assert any("each block of 5 columns holds one 1," in line for line in warnings(rows.reshape(200, 6, 5)))
    rows[:, 25:] = 0
    rows[0, :5] = 0
    rows[:, 5:25:5] *= 0
    assert any("each block of 5 columns holds one 1, some none (padding)" in line for line in warnings(rows))
    assert "one-hot" not in codes(rng.integers(0, 2, size=(200, 30)))
    assert "one-hot" not in codes(rng.integers(0, 2, size=(200, 2)))


def test_unscaled_counts_are_told_and_scaled_ones_are_not() -> None:
    rows = np.random.default_rng(0).poisson(3.0, size=(200, 6)) * 1.0
    assert any("as counts are" in line for line in warnings(rows))
    assert not any("as counts are" in line for line in warnings(rows, scaling="standard"))
    assert not any("as counts are" in line for line in warnings(rows + 0.5))


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (np.arange(7, 57), True),
        (np.random.default_rng(0).permutation(50) + 1000, True),
        (np.random.default_rng(0).permutation(90)[:50], True),  # what is left of a larger table
        (np.arange(50) // 2, False),
        (np.arange(50) * 7, False),
        (np.arange(50) + 0.5, False),
    ],
    ids=["in order", "shuffled", "a part", "twice each", "far apart", "not whole"],
)
def test_a_column_that_numbers_the_rows_in_any_order_is_named(numbers: np.ndarray, told: bool) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    rows[:, 1] = numbers
    found = [line for line in warnings(rows, scaling="standard") if "as row numbers are" in line]
    assert [line.split("; ")[1] for line in found] == ["take them out: columns 1"] * told


@pytest.mark.parametrize(
    ("value", "share", "told"),
    [
        (-999, 0.1, True),
        (999, 0.96, True),  # as days since a contact that never was
        (-200, 0.1, True),
        (-1, 0.1, True),  # below 0 alone, and the most frequent
        (0, 0.1, False),
        (-999, 0.002, False),
    ],
)
def test_a_repeated_value_apart_from_all_others_may_stand_for_a_missing_one(
    value: int, share: float, told: bool
) -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(size=1000), rng.gamma(2.0, 100.0, size=1000) + 1], axis=1)
    if value == 999:
        rows[:, 1] = rng.integers(0, 27, size=1000)
    rows[rng.random(1000) < share, 1] = value
    assert any("(as -999 does): columns 1" in line for line in warnings(rows, scaling="standard")) is told


def test_zero_in_most_rows_stands_for_none_and_not_for_a_missing_value() -> None:
    rows = np.random.default_rng(0).normal(5000.0, 300.0, size=(1000, 2))
    rows[:600, 0] = 0
    assert "missing-values" not in codes(np.random.default_rng(1).permutation(rows))


def test_fewer_training_rows_than_columns_are_told() -> None:
    rows = np.random.default_rng(0).normal(size=(10, 12))
    assert any("7 training rows are fewer than the 12 columns" in line for line in warnings(rows))
    assert not any("fewer than" in line for line in warnings(rows[:, :3]))


WALKS = np.cumsum(np.random.default_rng(0).normal(size=(60, 24, 3)), axis=1)
COLOURS = np.random.default_rng(0).normal(size=(60, 6, 6, 3))


@pytest.mark.parametrize("rows", [WALKS, COLOURS], ids=["series", "images"])
@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ((1, 1, 1), None),
        ((1, 5, 2), None),  # 25 of 30
        ((1, 1, 100), "channel 2 (counted from 0) of 3 holds 99.9 % of the variance"),
        ((1e4, 1, 1), "channel 0 (counted from 0) of 3 holds 99.9 % of the variance"),  # and not 100 %
        ((1, 1e4, 0), None),  # one that is constant has nothing to count
    ],
)
@pytest.mark.parametrize("scaling", ["none", "minmax", "standard"])
def test_a_channel_beside_which_the_others_hardly_count_is_named(
    rows: np.ndarray, factors: tuple[float, ...], told: str | None, scaling: str
) -> None:
    found = [line for line in warnings(rows * factors, scaling=scaling) if line.code == CHANNELS]
    assert [line.partition(",")[0] for line in found] == ([] if told is None else [told])
    assert all(line.endswith("scale each channel before") for line in found)


def test_what_all_rows_share_is_no_variance_of_a_channel() -> None:
    """The mean curve of channel 0 varies along its steps, but from row to row it varies like the others."""
    course = np.zeros((24, 3))
    course[:, 0] = 1000 * np.sin(np.arange(24))
    assert CHANNELS not in codes(WALKS + course)


def test_columns_of_grey_images_are_no_channels() -> None:
    images = np.random.default_rng(0).normal(size=(60, 6, 6)) * [1, 1, 100, 1, 1, 1]
    assert CHANNELS not in codes(images)


def test_channels_of_which_values_are_missing_are_weighed_by_the_others() -> None:
    rows = np.where(np.random.default_rng(1).random(WALKS.shape) < 0.2, np.nan, WALKS * [1, 100, 1])
    assert any(line.startswith("channel 1 ") for line in warnings(rows))


@pytest.mark.parametrize(
    ("rows", "kind", "told"),
    [
        (
            np.zeros((9, 1, 28, 28)),
            "conv",
            "rows of 1 x 28 x 28 look like 1 channel of 28 x 28 pixels, but 'conv' takes channels last: write them as "
            "np.moveaxis(rows, 1, -1)",
        ),
        (
            np.zeros((9, 3, 31, 17)),
            "conv",
            "rows of 3 x 31 x 17 look like 3 channels of 31 x 17 pixels, but 'conv' takes channels last: write them as "
            "np.moveaxis(rows, 1, -1)",
        ),
        (
            WALKS[:, :, :1].swapaxes(1, 2),
            "recurrent",
            "rows of 1 x 24 look like 1 channel of 24 steps, but 'recurrent' takes steps first: write them as "
            "np.swapaxes(rows, 1, 2)",
        ),
        (np.zeros((9, 28, 28, 1)), "conv", ""),
        (WALKS, "conv1d", ""),
    ],
)
def test_channels_that_come_first_are_told_with_the_way_to_put_them_last(
    rows: np.ndarray, kind: str, told: str
) -> None:
    assert channels_first(rows, kind) == told


@pytest.mark.parametrize(
    ("train", "test", "is_told"),
    [
        (["a", "b"], ["c", "d"], True),
        (["a", "b"], ["c", "b"], False),
        ([1, 2], [3, 4], True),
        ([1.0, 2.0], [3.0, 4.0], True),
        ([1.5, 2.5], [3.5, 4.5], False),  # quantities
        (range(101), range(101, 120), False),
        (["a", "a"], ["b", "b"], False),  # nothing to probe
        (["a", "b"], [], False),
    ],
)
def test_labels_that_no_test_row_shares_with_training_are_told(
    train: list[Any], test: list[Any], is_told: bool
) -> None:
    found = caution_of_labels({"train": np.array(train), "test": np.array(test)})
    assert [caution.code for caution in found] == ["labels-apart"] * is_told
    assert caution_of_labels(None) == ()
