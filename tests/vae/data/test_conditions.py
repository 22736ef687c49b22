"""Conditions: what each is taken for, how it becomes numbers, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.data.conditions import Condition, encode_condition
from klsearch.vae.data.datasets import DataProblem, Dataset, Request, load_dataset
from klsearch.vae.data.readers.raw import RawData

ROWS = {"train": np.arange(6), "validation": np.arange(6, 8), "test": np.arange(8, 9)}
WARDS = np.array(["b", "a", "a", "c", "a", "b", "c", "a", "b"])
AGES = np.array([20.5, 30, 40, 50, 60, 70, 45, 90, 10])


def encode(kinds: dict[str, str] | None = None, **conditions: Any) -> Condition:
    arrays = {name: np.asarray(values) for name, values in conditions.items()}
    return encode_condition(RawData(name="rows", rows=np.zeros((9, 2)), conditions=arrays), ROWS, kinds or {})


def refusal(**conditions: Any) -> str:
    with pytest.raises(DataProblem) as caught:
        encode(**conditions)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_become_a_column_each_and_numbers_are_standardised_over_the_training_rows() -> None:
    made = encode(ward=WARDS, age=AGES)
    mean, deviation = AGES[:6].mean(), AGES[:6].std()
    assert made.encoding.width == 4
    assert made.splits["validation"].tolist() == [
        [0, 0, 1, pytest.approx((45 - mean) / deviation)],
        [1, 0, 0, pytest.approx((90 - mean) / deviation)],
    ]
    assert {rows.dtype for rows in made.splits.values()} == {np.dtype(np.float32)}
    assert made.encoding.decode(made.splits["validation"][0]) == "ward c, age 45"
    assert [column.words for column in made.encoding.columns] == [
        "'ward' is one of 3 categories: a, b, c",
        "'age' is a number, standardised",
    ]


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        ([3, 10, 3, 10, 10, 3, 3, 3, 3], ("3", "10")),
        ([1.0, 0.0, 1, 1, 0, 1, 1, 0, 1], ("0", "1")),
        ([True, False, True, True, False, True, True, False, True], ("False", "True")),
    ],
)
def test_whole_numbers_and_truth_values_are_categories(values: list[Any], categories: tuple[str, ...]) -> None:
    assert encode(batch=values).encoding.columns[0].categories == categories


def test_a_wrong_guess_can_be_put_right() -> None:
    years = np.array([1, 2, 3, 4, 5, 6, 1, 2, 3])
    assert encode(years=years).encoding.width == 6
    assert encode({"years": "number"}, years=years).encoding.width == 1


def test_a_count_is_a_number() -> None:
    years = np.array([1, 2, 3, 4, 5, 6, 1, 2, 3])
    assert encode({"years": "count"}, years=years).encoding == encode({"years": "number"}, years=years).encoding


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("number", "rows: the condition 'ward' holds 'b', which is no number"),
        ("count", "rows: the condition 'ward' holds 'b', which is no number"),
        (
            "ignore",
            "rows: the condition 'ward' cannot be told and ignored; leave it out of [data.columns] or of "
            "data.condition",
        ),
    ],
)
def test_a_condition_that_cannot_be_what_it_is_said_to_be_is_refused(kind: str, reason: str) -> None:
    with pytest.raises(DataProblem) as caught:
        encode({"ward": kind}, ward=WARDS)
    assert str(caught.value) == reason


def test_several_numbers_can_be_put_right_all_of_them_or_one() -> None:
    codes = np.column_stack([[1, 2, 3, 1, 2, 3, 1, 2, 3], [5, 7, 5, 7, 5, 7, 5, 7, 5]])
    assert [len(column.names) for column in encode({"code": "category"}, code=codes).encoding.columns] == [3, 2]
    assert [len(column.names) for column in encode({"code[1]": "category"}, code=codes).encoding.columns] == [1, 2]


def test_whole_numbers_are_the_same_categories_in_all_rows() -> None:
    """A fraction in a held-out row makes no training row's category unknown."""
    sizes = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 2.0, 2.5, 1.0]
    with pytest.raises(DataProblem, match=r"the condition 'size' is '2.5' in no training row, but in row 7"):
        encode({"size": "category"}, size=sizes)


@pytest.mark.parametrize(("name", "key"), [("age", "age"), ("age in years", '"age in years"')])
def test_a_quantity_that_was_taken_for_categories_is_told_how_to_be_a_number(name: str, key: str) -> None:
    """9 is in a held-out row alone, as the oldest of some hundred people are."""
    told = refusal(**{name: [1, 2, 3, 4, 5, 6, 1, 2, 9]})
    assert f"the condition '{name}' is '9' in no training row, but in row 8" in told
    assert told.endswith(
        f'or give some to training with data.split_column; a quantity is [data.columns] {key} = "number"'
    )
    assert "number" not in refusal(**{name: ["a", "b"] * 3 + ["c", "a", "d"]})
    assert encode({name: "number"}, **{name: [1, 2, 3, 4, 5, 6, 1, 2, 9]}).encoding.width == 1


def test_a_column_that_tells_nothing_is_named_with_its_array() -> None:
    assert refusal(dose=np.column_stack([AGES, np.ones(9)])) == (
        "rows: the condition 'dose[1]' is 1.0 in all 6 training rows, so it tells nothing; remove that column from "
        "'dose'"
    )


def test_several_numbers_for_each_row_are_taken_as_they_are_where_they_are_0_and_1() -> None:
    codes = np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1, 2]]
    made = encode(code=np.column_stack([codes, AGES]))
    assert made.splits["test"][0, :3].tolist() == [0, 0, 1]
    assert made.splits["train"][:, 3].mean() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["a"] * 9, "the condition 'c' is a in all 6 training rows, so it tells nothing; leave it out"),
        ([1.5, np.nan, 2, 3, 4, 5, np.nan, 6, 7], "the condition 'c' has no value in 2 rows, the first is row 1"),
        (np.array(["a", None, "b"] * 3, object), "the condition 'c' has no value in 3 rows, the first is row 1"),
        (np.array(["a", pd.NA, "b"] * 3, object), "the condition 'c' has no value in 3 rows, the first is row 1"),
        (
            pd.array([True, None, False] * 3, dtype="boolean"),
            "the condition 'c' has no value in 3 rows, the first is row",
        ),
        (["a", "b", "", "a", " ", "b", "a", "b", "a"], "no value in 2 rows, the first is row 2 (counted from 0); fill"),
        (
            ["a", float("nan"), "b"] * 3,
            "no value in 3 rows, the first is row 1 (counted from 0), which says 'nan'; fill",
        ),
        (np.array(["2026-01-01", "2026-01-02", "NaT"] * 3, "M8[D]"), "no value in 3 rows, the first is row 2"),
        (np.array([[1, 2], [3, None]] * 4 + [[5, 6]], object), "no value in 4 rows, the first is row 1"),
        (["a", "b"] * 3 + ["c", "a", "d"], "the condition 'c' is 'c' in no training row, but in row 6"),
        (np.zeros((9, 0)), "the condition 'c' has shape [9, 0]; give one value, or some numbers, for each of 9 rows"),
        (["a", "b"] * 3, "the condition 'c' has shape [6]; give one value, or some numbers, for each of 9 rows"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(values: Any, reason: str) -> None:
    assert reason in refusal(c=values)


def table(folder: Path, **options: Any) -> Dataset:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)})
    frame["ward"] = ["a", "b", "c"] * 20
    frame["sick"] = [0, 1] * 30
    frame.to_csv(folder / "rows.csv", index=False)
    return load_dataset(Request(source="rows.csv", folder=folder, **options.pop("request", {})), **options)


def test_columns_of_a_table_that_are_told_are_not_learned(tmp_path: Path) -> None:
    data = table(tmp_path, request={"condition": ("ward", "sick")})
    assert data.columns == ("x", "y")
    assert data.condition_width == 5
    assert data.conditions is not None
    assert [len(data.conditions[name]) for name in data.splits] == [len(rows) for rows in data.splits.values()]
    assert data.notes == (
        "rows.csv: the condition 'ward' is one of 3 categories: a, b, c",
        "rows.csv: the condition 'sick' is one of 2 categories: 0, 1",
    )


def test_labels_can_be_told_and_still_probed(tmp_path: Path) -> None:
    data = table(tmp_path, request={"labels": "ward", "columns": {"sick": "ignore"}}, condition_on_labels=True)
    assert data.conditions is not None and data.labels is not None
    words = np.array(["a", "b", "c"])[data.conditions["test"].argmax(axis=1)]
    assert words.tolist() == data.labels["test"].tolist()


def test_labels_that_are_told_can_be_put_right(tmp_path: Path) -> None:
    columns = {"ward": "ignore", "sick": "number"}
    data = table(tmp_path, request={"labels": "sick", "columns": columns}, condition_on_labels=True)
    assert "rows.csv: the condition 'sick' is a number, standardised" in data.notes
    with pytest.raises(DataProblem, match=r"has no data column 'sick' \(\[data.columns\]\)"):
        table(tmp_path, request={"labels": "sick", "columns": columns})


def test_a_condition_changes_the_fingerprint_and_its_absence_does_not(tmp_path: Path) -> None:
    ignored = {"columns": {"ward": "ignore", "sick": "ignore"}}
    alone = table(tmp_path, request=ignored).fingerprint
    told = table(tmp_path, request={"condition": ("ward",), "columns": {"sick": "ignore"}})
    assert table(tmp_path, request=ignored).fingerprint == alone != told.fingerprint


@pytest.mark.parametrize(
    ("request_of", "options", "reason"),
    [
        ({"condition": ("wart",)}, {}, "rows.csv: has no column 'wart' (data.condition); did you mean 'ward'?"),
        (
            {},
            {"condition_on_labels": True},
            "data.condition = 'labels', but there are none; name them with data.labels",
        ),
    ],
)
def test_a_condition_that_is_not_there_is_refused(
    tmp_path: Path, request_of: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataProblem) as caught:
        table(tmp_path, request=request_of, **options)
    assert reason in str(caught.value)


def test_a_gap_in_a_condition_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "x,ward\n" + "".join(f"{n / 7},{'' if n == 4 else 'ab'[n % 2]}\n" for n in range(20))
    )
    with pytest.raises(DataProblem) as caught:
        load_dataset(Request(source="rows.csv", folder=tmp_path, condition=("ward",)))
    assert "the condition 'ward' has no value in 1 row, the first is row 4 (counted from 0), line 6" in str(
        caught.value
    )


def test_arrays_of_an_npz_can_be_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", x=rng.normal(size=(40, 3)), batch=np.arange(40) % 4, dose=rng.normal(size=(40, 2)))
    data = load_dataset(Request(source="rows.npz", folder=tmp_path, condition=("batch", "dose")))
    assert (data.shape, data.condition_width) == ((3,), 6)


@pytest.mark.parametrize("shape", [(40, 3), (40, 4, 5), (40, 4, 5, 1)])
def test_data_that_are_to_be_told_of_themselves_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).normal(size=shape)
    np.savez(tmp_path / "rows.npz", x=rows, same=rows)
    for name in ("x", "same"):
        with pytest.raises(DataProblem) as caught:
            load_dataset(Request(source="rows.npz", folder=tmp_path, array="x", condition=(name,)))
        assert str(caught.value) == (
            f"rows.npz (x): the condition '{name}' holds the data themselves, so that nothing is left to learn; tell "
            "something else of each row, or leave it out of data.condition"
        )


@pytest.mark.parametrize("source", ["digits", "rows.npy"])
def test_a_source_without_columns_by_name_refuses_a_condition(tmp_path: Path, source: str) -> None:
    np.save(tmp_path / "rows.npy", np.eye(9))
    with pytest.raises(DataProblem, match=r"data.condition = \['batch'\] cannot be used: "):
        load_dataset(Request(source=source, folder=tmp_path, condition=("batch",)))
