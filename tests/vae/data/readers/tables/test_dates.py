"""Which columns hold dates."""

import pandas as pd
import pytest

from klsearch.vae.data.readers.tables.dates import are_dates, find_dates


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-01-02", "02/02/2024", "2024-01-05"], True),
        (["2024-01-02", "2.1.2024", "soon", None], True),
        (["01.01.2024", "28.01.2024"], True),
        (["1/28/2024", "12/3/2024", "28/1/2024"], True),
        (["2024-01-02 10:30", "02/02/2024 9:05:01", "03 Feb 2024"], True),
        (["Jan 5, 2024", "3-Feb-2024"], True),
        (["2024-01-02", "soon", "later"], False),
        (["10-12", "13-19", "20-29"], False),  # ranges
        (["10.25", "1385.62", "12.3.4"], False),
        (["2024-13-45", "99/99/2024"], False),
        (["1.5 to 2.5", "a/b/c"], False),
        ([None, None], False),
    ],
)
def test_a_column_holds_dates_where_most_of_its_values_are_some_in_whatever_form(
    values: list[str | None], expected: bool
) -> None:
    assert are_dates(pd.Series(values, dtype=object)) is expected


def test_each_value_is_judged_by_itself() -> None:
    values = pd.Series([None, "soon", "2024-01-02", "02/02/2024"], dtype=object)
    assert find_dates(values).tolist() == [False, False, True, True]


def test_times_of_pandas_are_dates_but_for_missing_ones() -> None:
    values = pd.Series([pd.Timestamp("2024-01-02"), pd.NaT])
    assert (are_dates(values), find_dates(values).tolist()) == (True, [True, False])
