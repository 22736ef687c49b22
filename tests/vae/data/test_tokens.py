"""Tokens: how many there are, what they become, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.data.datasets import DataProblem, Dataset, Request, load_dataset
from klsearch.vae.data.readers.raw import RawData
from klsearch.vae.data.tokens import Alphabet, find_alphabet, one_hot_width

TOKENS = np.random.default_rng(0).integers(0, 5, size=(60, 7))
TOKENS[0, 0] = 4
TOKENS[::3, 5:] = -1


def load(folder: Path, rows: np.ndarray, scaling: str = "tokens", missing: str = "refuse") -> Dataset:
    np.save(folder / "rows.npy", rows)
    return load_dataset(Request(source="rows.npy", folder=folder), scaling=scaling, missing=missing)


def test_whole_numbers_become_one_hot_and_minus_one_nothing(tmp_path: Path) -> None:
    data = load(tmp_path, TOKENS)
    assert data.shape == (7, 5)
    assert data.scaling.words == "one-hot of 5 tokens"
    assert data.scaling.as_json()["classes"] == 5
    rows = np.concatenate(list(data.splits.values()))
    back = np.where(rows.any(axis=2), rows.argmax(axis=2), -1)
    assert sorted(map(tuple, back.tolist())) == sorted(map(tuple, TOKENS.tolist()))


def test_missing_tokens_are_padding_where_gaps_are_masked(tmp_path: Path) -> None:
    data = load(tmp_path, np.where(TOKENS < 0, np.nan, TOKENS), missing="mask")
    assert "the encoder is given no token for them" in data.notes[0]
    assert np.array_equal(data.train[:], load(tmp_path, TOKENS).train[:])


def test_one_hot_rows_are_taken_as_they_are_flat_or_not(tmp_path: Path) -> None:
    one_hot = Alphabet(5, is_one_hot=False).encode(TOKENS)
    expected = load(tmp_path, TOKENS).train[:]
    assert np.array_equal(load(tmp_path, one_hot.astype(np.uint8)).train[:], expected)
    assert np.array_equal(load(tmp_path, one_hot.reshape(60, -1)).train[:], expected)
    assert load(tmp_path, one_hot.reshape(60, -1)).shape == (7, 5)


def test_flat_one_hot_rows_may_be_padding_for_the_most_part(tmp_path: Path) -> None:
    padded = TOKENS.copy()
    padded[1:, 2:] = -1  # row 0 alone is full
    padded[0] = 4
    flat = Alphabet(5, is_one_hot=False).encode(padded).reshape(60, -1)
    assert np.array_equal(load(tmp_path, flat).train[:], load(tmp_path, padded).train[:])


def test_flat_one_hot_rows_may_lack_values_where_gaps_are_masked(tmp_path: Path) -> None:
    one_hot = Alphabet(5, is_one_hot=False).encode(TOKENS)
    gaps = np.where(TOKENS[:, :, np.newaxis] < 0, np.nan, one_hot).reshape(60, -1)
    assert np.array_equal(load(tmp_path, gaps, missing="mask").train[:], load(tmp_path, TOKENS).train[:])


def test_flat_one_hot_rows_may_have_two_classes() -> None:
    tokens = np.random.default_rng(0).integers(0, 2, size=(60, 7))
    flat = Alphabet(2, is_one_hot=False).encode(tokens).reshape(60, -1)
    alphabet = find_alphabet(RawData(name="rows", rows=flat))
    assert alphabet == Alphabet(2, is_one_hot=True)
    assert np.array_equal(alphabet.encode(flat).argmax(axis=2), tokens)


def test_zeros_and_ones_of_no_known_width_are_refused_and_not_taken_for_two_tokens() -> None:
    tokens = np.where(np.arange(7) < 3, TOKENS, -1)  # no row fills the last four places
    flat = Alphabet(5, is_one_hot=False).encode(tokens).reshape(60, -1)
    with pytest.raises(DataProblem) as caught:
        find_alphabet(RawData(name="rows", rows=flat))
    assert str(caught.value) == (
        "rows: zeros and ones, most of them zeros, may be one-hot tokens or tokens of two kinds; give them as one-hot "
        "[rows, length, classes]"
    )
    shaped = find_alphabet(RawData(name="rows", rows=flat.reshape(60, 7, 5)))
    assert shaped == Alphabet(5, is_one_hot=True)


def test_missing_values_are_no_zeros_of_two_kinds_of_tokens() -> None:
    binary = np.random.default_rng(0).integers(0, 2, size=(200, 12)).astype(np.float32)
    binary[:, 3:] = np.nan
    assert find_alphabet(RawData(name="rows", rows=binary)) == Alphabet(2, is_one_hot=False)


def test_tokens_of_two_kinds_are_no_one_hot_blocks() -> None:
    binary = np.random.default_rng(0).integers(0, 2, size=(200, 12))
    assert find_alphabet(RawData(name="rows", rows=binary)) == Alphabet(2, is_one_hot=False)


@pytest.mark.parametrize("missing", [-1, np.nan])
def test_rows_that_are_padding_in_every_place_are_refused(missing: float) -> None:
    tokens = np.where(TOKENS < 0, missing, TOKENS)
    tokens[[7, 9]] = -1
    for rows in (tokens, Alphabet(5, is_one_hot=False).encode(tokens)):
        for shaped in (rows, rows.reshape(60, -1)):
            with pytest.raises(DataProblem) as caught:
                find_alphabet(RawData(name="rows", rows=shaped))
            assert str(caught.value) == (
                "rows: 2 rows have no token at all, the first is row 7 (counted from 0); remove such rows"
            )


def one_hot_of(*sizes: int, rows: int = 60) -> np.ndarray:
    """Rows of one category of each size, as neighbouring blocks of zeros and ones."""
    random = np.random.default_rng(0)
    return np.concatenate([np.eye(size)[random.permutation(np.arange(rows) % size)] for size in sizes], axis=1)


@pytest.mark.parametrize("sizes", [(3, 6), (3, 3, 6), (2, 4), (2, 3), (4, 6, 2)])
def test_categories_of_different_sizes_are_no_tokens_of_which_some_are_padding(sizes: tuple[int, ...]) -> None:
    flat = one_hot_of(*sizes)
    assert one_hot_width(flat) == one_hot_width(flat, are_tokens=True) == 0
    with pytest.raises(DataProblem) as caught:
        find_alphabet(RawData(name="rows", rows=flat))
    assert str(caught.value) == (
        "rows: tokens share one alphabet, but its columns of zeros and ones are categories of "
        f"{', '.join(map(str, sizes))} kinds; give each as one column of words in a .csv, and use model.likelihood = "
        "'mixed'"
    )


def test_categories_of_different_sizes_of_which_some_are_missing_are_no_tokens_either() -> None:
    flat = one_hot_of(3, 6)
    flat[::4, 3:] = np.nan
    assert one_hot_width(flat) == one_hot_width(flat, are_tokens=True) == 0


@pytest.mark.parametrize(("size", "places"), [(2, 3), (3, 4), (6, 2)])
def test_categories_of_one_size_are_tokens(size: int, places: int) -> None:
    assert one_hot_width(one_hot_of(*[size] * places), are_tokens=True) == size


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"dose": "lo mid hi".split(), "grade": list("abcdef")}, "'dose' has 3 words and 'grade' 6"),
        ({"age": [31, 42], "dose": "lo mid hi".split()}, "'dose' has 3 words and 'age' none"),
        ({"arm": ["a"], "dose": "lo mid hi".split()}, "'arm' has 1 word and 'dose' 3"),
    ],
)
def test_a_table_of_words_of_several_alphabets_is_refused_as_tokens(
    tmp_path: Path, columns: dict[str, list[Any]], told: str
) -> None:
    pd.DataFrame({name: (values * 60)[:60] for name, values in columns.items()}).to_csv(
        tmp_path / "rows.csv", index=False
    )
    with pytest.raises(DataProblem) as caught:
        load_dataset(Request(source="rows.csv", folder=tmp_path), scaling="tokens")
    assert str(caught.value) == (
        f"rows.csv: tokens share one alphabet, but {told}; model.likelihood = 'mixed' is made for such tables"
    )


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ((3, 2), 1.5, "rows: 1.5 at column 2, row 3 (counted from 0) is no whole number, as tokens are"),
        ((3, 2), -2, "rows: -2 at column 2, row 3 (counted from 0) is out of range: tokens count from 0 on, and -1"),
        ((3, 2), 1e9, "rows: 1e+09 at column 2, row 3 (counted from 0) is out of range: tokens must lie below 100,000"),
    ],
)
def test_a_token_out_of_range_is_refused_with_its_place(place: tuple[int, int], value: float, reason: str) -> None:
    rows = TOKENS.astype(np.float64)
    rows[place] = value
    with pytest.raises(DataProblem) as caught:
        find_alphabet(RawData(name="rows", rows=rows))
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.full((4, 3, 5), 0.5), "0.5 at pixel [0, 0], row 0"),
        (np.ones((4, 3, 5)), "place 0 of row 0 (counted from 0) holds 5 tokens; give one or none"),
        (np.ones((4, 3, 5, 2)), "rows of shape [3, 5, 2] are no tokens; give [rows, length] or one-hot"),
    ],
)
def test_rows_that_are_no_tokens_are_refused(rows: np.ndarray, reason: str) -> None:
    with pytest.raises(DataProblem) as caught:
        find_alphabet(RawData(name="rows", rows=rows))
    assert reason in str(caught.value)


def test_rows_that_end_in_one_token_again_and_again_are_told_how_padding_is_written(tmp_path: Path) -> None:
    padded = np.where(TOKENS < 0, 0, TOKENS)
    padded[:, 4:] = 0
    (line,) = [one for one in load(tmp_path, padded).warnings if one.code == "padding"]
    assert "most rows end in token 0, again and again, as padding does; write -1" in line
    assert not [one for one in load(tmp_path, TOKENS).warnings if one.code == "padding"]


def test_one_hot_rows_under_another_likelihood_are_told_of_the_categorical_one(tmp_path: Path) -> None:
    tokens = np.where(np.random.default_rng(1).uniform(size=TOKENS.shape) < 0.1, -1, TOKENS)
    flat = Alphabet(5, is_one_hot=False).encode(tokens).reshape(60, -1)
    (line,) = [one for one in load(tmp_path, flat, scaling="auto").warnings if one.code == "one-hot"]
    assert line.startswith("each block of 5 columns holds one 1, some none (padding), as one-hot categories do; ")
    assert "model.likelihood = 'categorical'" in line
