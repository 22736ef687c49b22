"""Which rows train, validate and test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.vae.data.readers.raw import DataProblem, RawData
from klsearch.vae.data.splits import split_rows


def raw(count: int, *, group: list[int] | None = None, split: list[str] | None = None) -> RawData:
    return RawData(
        name="rows.csv",
        rows=np.zeros((count, 2)),
        group=None if group is None else np.array(group),
        split=None if split is None else np.array(split),
        first_line=2,
    )


@given(st.integers(20, 200), st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 2**32 - 1))
def test_every_row_is_in_exactly_one_split(count: int, validation: float, test: float, seed: int) -> None:
    rows = split_rows(raw(count), validation=validation, test=test, seed=seed)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(count))
    assert (len(rows["validation"]), len(rows["test"])) == (round(validation * count), round(test * count))


@given(st.lists(st.integers(0, 30), min_size=60, max_size=120).filter(lambda g: len(set(g)) > 2), st.integers(0, 99))
def test_rows_of_one_group_stay_together(group: list[int], seed: int) -> None:
    rows = split_rows(raw(len(group), group=group), validation=0.2, test=0.2, seed=seed)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(group)))
    groups = [{group[row] for row in numbers} for numbers in rows.values()]
    assert sum(map(len, groups)) == len(set(group))


def test_groups_come_close_to_the_shares() -> None:
    rows = split_rows(raw(1000, group=[row // 5 for row in range(1000)]), validation=0.2, test=0.1, seed=1)
    assert {name: len(numbers) for name, numbers in rows.items()} == {"test": 100, "validation": 200, "train": 700}


def test_a_group_too_large_for_the_held_out_splits_trains() -> None:
    group = [0] * 80 + list(range(1, 21))
    for seed in range(10):
        rows = split_rows(raw(100, group=group), validation=0.1, test=0.1, seed=seed)
        assert {name: len(numbers) for name, numbers in rows.items()} == {"test": 10, "validation": 10, "train": 80}


def test_too_few_groups_for_three_splits_are_refused() -> None:
    with pytest.raises(DataProblem, match="6 rows in 2 groups are too few"):
        split_rows(raw(6, group=[1, 1, 1, 2, 2, 2]), validation=0.2, test=0.2, seed=0)


def test_an_empty_test_split_is_as_asked() -> None:
    assert len(split_rows(raw(10), validation=0.2, test=0, seed=0)["test"]) == 0


def test_another_seed_draws_another_split() -> None:
    first, second = (split_rows(raw(50), validation=0.2, test=0.2, seed=seed)["test"] for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_a_column_of_splits_decides_whatever_the_seed() -> None:
    names = ["train", "val", " Test ", "training", "validation", "train"]
    for seed in (0, 1):
        rows = split_rows(raw(6, split=names), validation=0.15, test=0.15, seed=seed)
        assert {name: numbers.tolist() for name, numbers in rows.items()} == {
            "train": [0, 3, 5],
            "validation": [1, 4],
            "test": [2],
        }


def test_an_unknown_split_is_named_with_its_row_and_line() -> None:
    with pytest.raises(DataProblem, match=r"holds 'tst' at row 2 \(counted from 0\), line 4; it must be train"):
        split_rows(raw(3, split=["train", "val", "tst"]), validation=0.15, test=0.15, seed=0)


def test_a_column_of_splits_must_name_rows_to_validate() -> None:
    with pytest.raises(DataProblem, match="the split column must name train and validation"):
        split_rows(raw(3, split=["train", "train", "test"]), validation=0.15, test=0.15, seed=0)
