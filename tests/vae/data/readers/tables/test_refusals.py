"""What is said of a column that cannot be data."""

import pandas as pd
import pytest

from klsearch.vae.data.readers.tables.refusals import are_measured, refuse_others, refuse_texts

LEAVE_OUT = (
    'leave it out by [data.columns] "a b" = "ignore", or name it as data.labels, data.group or data.split_column'
)


@pytest.mark.parametrize(
    ("values", "what", "message"),
    [
        (["1", "2", "12.3.4", "5"], None, "'12.3.4' at row 2 (counted from 0, line 4), which is no number, as 3 of 4"),
        (["1,5", "2,5", "Sum", None], None, "'Sum' at row 2 (counted from 0, line 4), which is no number, as 2 of 3"),
        (["a1", "b2", "3"], "no numbers", "'a1' at row 0 (counted from 0, line 2), which is no number; turn it into"),
        (["1.5%", "20 %"], "percentages", "'1.5%' at row 0 (counted from 0, line 2), which is a percentage; write it"),
        (
            ["$5.10", "-$7"],
            "amounts of money",
            "'$5.10' at row 0 (counted from 0, line 2), which is an amount of money",
        ),
        (["5,10 €", "EUR 7"], "amounts of money", "'5,10 €' at row 0"),
        (
            ["20", "1,234.56"],
            "marks between thousands",
            "'1,234.56' at row 1 (counted from 0, line 3), which has marks",
        ),
        (["20", "1.234,56"], "marks between thousands", "'1.234,56' at row 1"),
        (["20", "1 234 567"], "marks between thousands", "'1 234 567' at row 1"),
        (["20", "1'234.5"], "marks between thousands", '"1\'234.5" at row 1'),
        (["10.25 31.9 5", "1 2 3"], "several numbers in one", "which is several numbers; separate them by commas,"),
        (["x", "2024-01-02", "2.2.2024"], "dates", "'2024-01-02' at row 1 (counted from 0, line 3), which is a date;"),
        (["1,234", "2,345"], "marks between thousands", "'1,234' at row 0"),
    ],
)
def test_the_first_value_that_is_no_number_is_named_with_what_it_is_and_a_way_out(
    values: list[str | None], what: str | None, message: str
) -> None:
    refusal = refuse_others("rows.csv", "a b", pd.Series(values, dtype=object), 2)
    assert refusal.message.startswith("rows.csv: column 'a b' holds ")
    assert message in refusal.message
    assert refusal.message.endswith(LEAVE_OUT)
    assert refusal.what == (what or "not all numbers")


def test_of_a_column_of_numbers_it_is_said_how_many_are_some_and_which_is_the_first_that_is_not() -> None:
    values = pd.Series(["1.5"] * 57 + ["12.3.4"] + ["2"] * 242, dtype=object)
    assert refuse_others("rows.csv", "c", values, 2).words == (
        "not all numbers: 299 of 300 are, the first that is not: '12.3.4' at row 57 (counted from 0, line 59)"
    )
    assert refuse_others("rows.csv", "c", values, None).words.endswith("'12.3.4' at row 57 (counted from 0)")


def test_of_too_many_texts_their_number_is_said() -> None:
    refusal = refuse_texts("rows.csv", "id", pd.Series(["p1", "p2"]), 2)
    assert "holds 2 different texts in 2 rows" in refusal.message
    assert refusal.words == "texts, like an id"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["5%", "10%", None], True),
        (["$5", "€7.50", "free"], True),
        (["100%", "mixed"], False),
        (["5 kg", "6 kg"], False),
    ],
)
def test_percentages_and_money_are_known_by_most_values(values: list[str | None], expected: bool) -> None:
    assert are_measured(pd.Series(values, dtype=object)) is expected
