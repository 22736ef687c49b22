"""Data ready to train on: what is refused, warned of, and kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.vae.data.datasets import DataProblem, Dataset, load_dataset
from klsearch.vae.data.readers import arrays
from klsearch.vae.data.readers.raw import Request
from klsearch.vae.data.rows import KeptRows
from klsearch.vae.data.scaling import Scaling

TABLE = np.random.default_rng(1).normal(size=(40, 3))


def load(folder: Path, values: Any, *, rows: int | None = None, **options: Any) -> Dataset:
    """The values, saved as an .npy and loaded."""
    np.save(folder / "rows.npy", np.asarray(values))
    return load_dataset(Request(source="rows.npy", folder=folder, rows=rows), **options)


def refusal_of_rows(folder: Path, rows: Any, **options: Any) -> str:
    with pytest.raises(DataProblem) as caught:
        load(folder, rows, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table_with(value: float, *cells: tuple[int, int]) -> np.ndarray:
    rows = TABLE.copy()
    for cell in cells:
        rows[cell] = value
    return rows


PEOPLE = """age,town,visits,smokes
50,Bonn,3,True
30,Köln,0,False
40,Bonn,7,False
20,Mainz,1,True
"""


def load_people(folder: Path, table: str = 10 * PEOPLE, **columns: str) -> Dataset:
    head, *lines = table.splitlines()
    (folder / "people.csv").write_text("\n".join([head, *(line for line in lines if line != head)]))
    return load_dataset(Request(source="people.csv", folder=folder, columns=columns), scaling="columns", test=0.0)


def test_of_columns_of_different_kinds_the_numbers_alone_are_scaled(tmp_path: Path) -> None:
    dataset = load_people(tmp_path, visits="count")
    ages, towns, visits, smokes = np.split(np.asarray(dataset.train), [1, 4, 5], axis=1)
    assert [float(ages.mean()), float(ages.std())] == pytest.approx([0, 1], abs=1e-6)
    assert set(np.unique(towns)) == set(np.unique(smokes)) == {0, 1}
    assert set(np.unique(visits)) == {0, 1, 3, 7}
    words = "standard by column of numbers, over the training split; none for other columns"
    assert dataset.scaling.words == words


def test_columns_of_counts_hold_counts_where_they_are_scored_as_such(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"2\.5 at column 'visits', row 2 .* is no whole number, as counts never are"):
        load_people(tmp_path, (10 * PEOPLE).replace("40,Bonn,7", "40,Bonn,2.5", 1), visits="count")


def test_rows_of_no_table_have_no_columns_of_different_kinds(tmp_path: Path) -> None:
    told = refusal_of_rows(tmp_path, TABLE, scaling="columns")
    assert told.endswith("give a .csv, a .parquet or a data frame, or use 'gaussian'")


def test_digits_are_images_in_the_unit_interval_with_labels() -> None:
    digits = load_dataset(Request(source="digits", folder=Path()))
    assert digits.shape == (8, 8)
    assert digits.rows == {"train": 1257, "validation": 270, "test": 270}
    assert digits.unit_interval
    assert (digits.scaling.kind, float(digits.scaling.scale)) == ("minmax", 16.0)
    assert digits.labels is not None
    assert {name: len(labels) for name, labels in digits.labels.items()} == digits.rows
    assert digits.warnings == ()


def test_rows_of_a_table_keep_their_labels_through_the_split() -> None:
    digits = load_dataset(Request(source="digits", folder=Path(), rows=200), seed=5)
    originals = load_dataset(Request(source="digits", folder=Path(), rows=200), seed=6)
    label_of = {
        row.tobytes(): label
        for name, labels in (originals.labels or {}).items()
        for row, label in zip(originals.splits[name][:], labels, strict=True)
    }
    assert digits.labels is not None
    assert all(
        label_of[row.tobytes()] == label
        for name, labels in digits.labels.items()
        for row, label in zip(digits.splits[name][:], labels, strict=True)
    )


def test_only_the_first_rows_are_taken_when_asked(tmp_path: Path) -> None:
    assert load(tmp_path, TABLE, rows=20, scaling="none").rows == {"train": 14, "validation": 3, "test": 3}


def test_asking_for_more_rows_than_there_are_is_warned_of(tmp_path: Path) -> None:
    assert load(tmp_path, TABLE, rows=50).warnings == ("data.rows asks for 50 rows, but there are 40",)


def test_rows_too_few_for_a_validation_split_are_refused(tmp_path: Path) -> None:
    text = refusal_of_rows(tmp_path, TABLE[:3])
    assert "the validation split needs at least 1 row (train 3, validation 0, test 0)" in text


def test_a_missing_number_is_named_with_its_column_and_row(tmp_path: Path) -> None:
    text = refusal_of_rows(tmp_path, table_with(np.nan, (7, 2)))
    assert text.startswith("rows.npy: NaN (no number) in 1 value at column 2, row 7 (counted from 0)")


def test_a_training_split_without_variation_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.eye(4)[[0, 0, 0, 1]], part=np.array(["train", "train", "train", "val"]))
    with pytest.raises(DataProblem, match="the training split's 3 rows are the same"):
        load_dataset(Request(source="rows.npz", folder=tmp_path, split_column="part"))


def test_some_constant_columns_are_warned_of_and_keep_their_scale(tmp_path: Path) -> None:
    data = load(tmp_path, np.column_stack([TABLE, np.full(40, 0.1)]))
    assert any("columns 3" in line for line in data.warnings)
    assert data.scaling.scale[3] == 1.0
    assert np.allclose(data.train[:][:, 3], 0.0, atol=1e-6)


def test_held_out_values_beyond_the_training_range_are_kept_and_warned_of(tmp_path: Path) -> None:
    x = np.array([[0.0, 5], [1, 9], [2, 7], [7, 8]])
    np.savez(tmp_path / "rows.npz", x=x, part=np.array(["train", "train", "train", "val"]))
    data = load_dataset(Request(source="rows.npz", folder=tmp_path, split_column="part"), scaling="minmax")
    assert data.validation[:].tolist() == [[3.5, 0.75]]
    assert not data.unit_interval
    assert any("beyond the training rows' range" in line for line in data.warnings)


@pytest.mark.parametrize("scaling", ["auto", "none", "minmax", "standard"])
@pytest.mark.parametrize("images", [False, True])
def test_the_test_rows_decide_nothing_about_how_the_others_are_trained_on(
    tmp_path: Path, scaling: str, images: bool
) -> None:
    x = np.array([[0.0, 1], [1, 0], [0.5, 0.25], [0.75, 0.5], [0.25, 0.5]])
    part = np.array(["train", "train", "train", "val", "test"])
    loaded = []
    for test in (0.5, 200.0, -3.0):
        rows = np.concatenate([x[:4], [[0.25, test]]]).reshape((5, 2, 1) if images else (5, 2))
        np.savez(tmp_path / "rows.npz", x=rows, part=part)
        loaded.append(load_dataset(Request(source="rows.npz", folder=tmp_path, split_column="part"), scaling=scaling))
    for data in loaded[1:]:
        assert data.unit_interval == loaded[0].unit_interval == (scaling != "standard")
        assert data.scaling.as_json() == loaded[0].scaling.as_json()
        assert np.array_equal(data.train[:], loaded[0].train[:])
        assert np.array_equal(data.validation[:], loaded[0].validation[:])
    if scaling == "minmax":
        assert any("held-out values lie beyond" in line for line in loaded[1].warnings), "the user is told nevertheless"


def test_values_already_between_zero_and_one_are_left_alone(tmp_path: Path) -> None:
    table = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    data = load(tmp_path, table)
    assert (data.scaling.kind, data.unit_interval) == ("none", True)
    loaded = np.concatenate([rows[:] for rows in data.splits.values()])
    assert set(map(tuple, loaded.tolist())) == set(map(tuple, table.tolist()))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, np.float64])
def test_any_real_numbers_become_float32(tmp_path: Path, dtype: type) -> None:
    data = load(tmp_path, np.random.default_rng(0).integers(0, 2, (30, 5)).astype(dtype))
    assert {rows[:].dtype for rows in data.splits.values()} == {np.dtype(np.float32)}


def test_the_same_seed_gives_the_same_data_and_another_seed_another_split(tmp_path: Path) -> None:
    first, again, other = (load(tmp_path, TABLE, seed=seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint
    assert np.array_equal(first.train[:], again.train[:])
    assert first.fingerprint != other.fingerprint


@given(row=st.integers(0, 39), column=st.integers(0, 2), scaling=st.sampled_from(["none", "minmax", "standard"]))
def test_the_fingerprint_changes_with_any_value(
    tmp_path_factory: pytest.TempPathFactory, row: int, column: int, scaling: str
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    changed = table_with(TABLE[row, column] + 0.01, (row, column))
    assert load(folder, TABLE, scaling=scaling).fingerprint != load(folder, changed, scaling=scaling).fingerprint


def test_the_fingerprint_changes_with_the_scale_of_the_raw_values(tmp_path: Path) -> None:
    assert load(tmp_path, TABLE).fingerprint != load(tmp_path, TABLE * 2).fingerprint


def test_splits_of_different_row_shapes_are_refused() -> None:
    rows = np.zeros((2, 3), np.float32)
    scaling = Scaling(kind="none", offset=np.asarray(0.0), scale=np.asarray(1.0))
    with pytest.raises(ValueError, match="test must be float32 with rows of shape"):
        Dataset(
            train=rows,
            validation=rows,
            test=rows[:, :2],
            labels=None,
            scaling=scaling,
            unit_interval=True,
            fingerprint="",
        )


def test_missing_values_stay_missing_where_they_are_masked_and_scaling_never_sees_them(tmp_path: Path) -> None:
    rows = table_with(np.nan, (3, 1), (8, 0), (8, 2))
    data = load(tmp_path, rows, missing="mask", scaling="standard")
    scaled = np.concatenate([rows[:] for rows in data.splits.values()])
    assert np.isnan(scaled).sum(axis=0).tolist() == [1, 1, 1]
    assert np.nanmean(data.train[:], axis=0) == pytest.approx([0, 0, 0], abs=1e-6)
    assert np.nanstd(data.train[:], axis=0) == pytest.approx([1, 1, 1], abs=1e-6)
    (note,) = data.notes
    assert note.startswith("rows.npy: 3 of 120 values are missing, in 2 of 40 rows; the encoder is given")


def test_what_is_missing_counts_to_the_fingerprint_and_the_bits_of_a_nan_do_not(tmp_path: Path) -> None:
    rows = table_with(np.nan, (3, 1))
    other = rows.copy()
    other[3, 1] = -other[3, 1]
    assert other.tobytes() != rows.tobytes()
    found = [load(tmp_path, values, missing="mask").fingerprint for values in (rows, other, table_with(np.nan, (4, 1)))]
    assert found[0] == found[1] != found[2]


def test_whole_data_are_the_same_masked_or_not(tmp_path: Path) -> None:
    masked, refused = load(tmp_path, TABLE, missing="mask"), load(tmp_path, TABLE)
    assert (masked.fingerprint, masked.notes) == (refused.fingerprint, refused.notes)


def test_a_column_without_any_value_is_refused(tmp_path: Path) -> None:
    rows = TABLE.copy()
    rows[:, 1] = np.nan
    text = "rows.npy: column 1 has no value in any training row; leave it out"
    assert refusal_of_rows(tmp_path, rows, missing="mask") == text


def test_constant_columns_with_gaps_are_still_told(tmp_path: Path) -> None:
    rows = TABLE.copy()
    rows[:, 2] = 4.0
    rows[::3, 2] = np.nan
    warnings = load(tmp_path, rows, missing="mask").warnings
    assert any("carry nothing and keep scale 1: columns 2" in line for line in warnings)


@pytest.mark.parametrize("scaling", ["auto", "none", "minmax", "standard"])
@pytest.mark.parametrize("shape", [(6,), (5, 4), (4, 4, 3)])
def test_bytes_stay_bytes_and_are_the_data_that_float32_would_be(
    tmp_path: Path, shape: tuple[int, ...], scaling: str
) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (60, *shape), np.uint8)
    kept, wide = load(tmp_path, rows, scaling=scaling), load(tmp_path, rows.astype(np.float32), scaling=scaling)
    assert isinstance(kept.train, KeptRows) and isinstance(kept.test, KeptRows)
    assert kept.train.source is kept.test.source, "one copy for all splits"
    assert isinstance(wide.train, np.ndarray)
    for split, expected in wide.splits.items():
        assert np.array_equal(kept.splits[split][:], expected[:])
    assert kept.scaling.as_json() == wide.scaling.as_json()
    told = [(data.fingerprint, data.shape, data.rows, data.unit_interval, data.warnings) for data in (kept, wide)]
    assert told[0] == told[1]


def test_bytes_are_warned_of_as_float32_is(tmp_path: Path) -> None:
    """Constant, one-hot, numbered and mostly-missing columns, and counts."""
    rng = np.random.default_rng(0)
    rows = np.column_stack(
        [
            np.full(200, 7),
            np.eye(4)[rng.integers(0, 4, 200)],
            rng.permutation(200),
            np.where(rng.random(200) < 0.1, 255, rng.integers(0, 20, 200)),
            rng.poisson(3, 200),
        ]
    )
    for scaling in ("auto", "none"):
        kept, wide = (load(tmp_path, rows.astype(dtype), scaling=scaling) for dtype in (np.uint8, np.float32))
        assert isinstance(kept.train, KeptRows)
        assert kept.warnings == wide.warnings
    assert {line.code for line in load(tmp_path, rows.astype(np.uint8)).warnings} == {
        "constant-columns",
        "one-hot",
        "row-numbers",
        "missing-values",
    }


def test_zeros_and_ones_in_bytes_are_recognised(tmp_path: Path) -> None:
    images = np.eye(5, dtype=np.uint8)[np.random.default_rng(0).integers(0, 5, (40, 6))]
    kept, wide = (load(tmp_path, images.astype(dtype)) for dtype in (np.uint8, np.float32))
    assert isinstance(kept.train, KeptRows)
    assert kept.warnings == wide.warnings
    assert any("one-hot" in line for line in kept.warnings)


@pytest.mark.parametrize("are_many", [False, True])
def test_many_bytes_of_an_npy_stay_in_the_file_and_few_are_safe_from_what_becomes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, are_many: bool
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    if are_many:
        monkeypatch.setattr(arrays, "_MAPPED_BYTES", images.nbytes)
    data = load(tmp_path, images)
    assert isinstance(data.train, KeptRows)
    assert data.train.source.flags.writeable
    file = np.load(tmp_path / "rows.npy", mmap_mode="r+")
    file[:] = 255 - images
    assert np.array_equal(data.train.source, file if are_many else images)


def test_labels_that_are_the_groups_are_warned_of(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "rows.npz", x=rows, who=np.arange(60) // 6, sex=np.arange(60) % 2)
    told = {}
    for labels in ("who", "sex"):
        request = Request(source="rows.npz", folder=tmp_path, array="x", labels=labels, group="who")
        told[labels] = [line for line in load_dataset(request).warnings if line.code == "labels-apart"]
    assert len(told["who"]) == 1 and not told["sex"]
    assert told["who"][0].startswith("no test row has a label that a training row has")
