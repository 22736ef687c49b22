"""Tables that fit a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.search.terminal.tables import table_lines

ROWS = [
    ["median on the test split", "KL per latent", "unexplained", "active latents", "seeds passed", "probe accuracy"],
    ["winner", "3.4", "0.22", "8 of 8", "8 of 8", "0.94"],
    ["before (3 of 8 diverged, left out)", "17", "0.23", "8 of 8", "0 of 3", "–"],
]


def test_a_table_that_fits_keeps_every_cell_in_one_line() -> None:
    assert table_lines([row[:3] for row in ROWS]) == [
        "median on the test split            KL per latent  unexplained",
        "winner                                        3.4         0.22",
        "before (3 of 8 diverged, left out)             17         0.23",
    ]


def test_a_table_that_does_not_fit_breaks_headings_and_names_between_words() -> None:
    assert table_lines(ROWS, width=80) == [
        "                                  KL per                active   seeds     probe",
        "median on the test split          latent  unexplained  latents  passed  accuracy",
        "winner                               3.4         0.22   8 of 8  8 of 8      0.94",
        "before (3 of 8 diverged, left         17         0.23   8 of 8  0 of 3         –",
        "out)",
    ]


def test_columns_that_find_no_room_follow_below_beside_the_first_one() -> None:
    lines = table_lines([["trial", "score", "kl_weight"], ["12", "0.123456", "0.01"]], width=15)
    assert lines == ["trial     score", "12     0.123456", "", "            kl_", "trial    weight", "12         0.01"]


def test_a_list_in_a_cell_is_broken_behind_its_commas() -> None:
    lines = table_lines([["trial", "missed"], ["12", "settled,clipping"]], width=15)
    assert lines == ["trial    missed", "12     settled,", "       clipping"]


def test_a_table_without_rows_is_its_heading() -> None:
    assert table_lines([["trial", "score"]]) == ["trial  score"]


WORDS = st.text("abcdef0123", min_size=1, max_size=9)
CELLS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


@given(data=st.data(), columns=st.integers(2, 14), rows=st.integers(0, 3))
def test_no_line_is_longer_than_the_terminal_and_no_value_is_lost(data: st.DataObject, columns: int, rows: int) -> None:
    heading = data.draw(st.lists(CELLS, min_size=columns, max_size=columns))
    body = [
        [data.draw(CELLS), *data.draw(st.lists(WORDS, min_size=columns - 1, max_size=columns - 1))] for _ in range(rows)
    ]
    lines = table_lines([heading, *body], width=80)
    assert all(len(line) <= 80 for line in lines)
    shown = " ".join(lines).split()
    assert all(shown.count(value) >= sum(row[1:].count(value) for row in body) for row in body for value in row[1:])


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_wide_table_fits_terminals_of_every_width(width: int) -> None:
    assert max(map(len, table_lines(ROWS, width=width))) <= width
