"""Numbers, times and counts as a reader sees them."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.reports.wording import (
    capitalized,
    count,
    duration,
    first_line,
    number,
    setting,
    share,
    spread,
    utc,
)

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (0.123449, "0.1234"),
        (-0.00012345, "-0.0001234"),
        (0.000012345, "1.234e-05"),
        (999.94, "999.9"),
        (999.96, "1000"),
        (1234.56, "1235"),
        (-4321.9, "-4322"),
        (123456.7, "123457"),
        (999_999.4, "999999"),
        (1e6, "1e+06"),
        (12_345_678, "1.235e+07"),
    ],
)
def test_a_number_has_four_digits_or_all_those_of_a_whole_number_below_a_million(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e300, 1e300, allow_subnormal=False))
def test_a_number_that_is_copied_is_the_value_to_four_digits(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, rel=5.001e-4, abs=0)


@pytest.mark.parametrize("text", [number(None), number(NAN), number(INF), share(NAN), duration(INF), spread(NAN, INF)])
def test_where_there_is_no_number_a_dash_stands(text: str) -> None:
    assert text == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (1e-9, "<1 %"),
        (0.0099, "<1 %"),
        (0.01, "1 %"),
        (0.125, "12 %"),
        (0.99, "99 %"),
        (0.9901, ">99 %"),
        (1 - 1e-9, ">99 %"),
        (1.0, "100 %"),
    ],
)
def test_only_none_reads_as_0_percent_and_only_all_as_100(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0123, "0.012 s"),
        (9.44, "9.4 s"),
        (9.5, "10 s"),
        (59.4, "59 s"),
        (59.5, "1 min"),
        (60.4, "1 min"),
        (61, "1 min 1 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h"),
        (3659, "1 h"),
        (7325, "2 h 2 min"),
        (86_399.6, "1 d"),
        (90_000, "1 d 1 h"),
        (8_640_000, "100 d"),
    ],
)
def test_a_time_span_is_told_in_its_two_largest_units_and_never_as_60_of_one(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (0, "trial", "0 trials"),
        (1, "trial", "1 trial"),
        (2, "epoch", "2 epochs"),
        (1, "loss", "1 loss"),
        (0, "loss", "0 losses"),
        (12_345_678, "row", "12,345,678 rows"),
    ],
)
def test_a_count_agrees_with_its_noun(n: int, noun: str, text: str) -> None:
    assert count(n, noun) == text


@pytest.mark.parametrize(
    ("low", "high", "text"), [(0.5, 12, "0.5 to 12"), (-INF, 2, "– to 2"), (1, INF, "1 to –"), (3, 3, "3 to 3")]
)
def test_an_interval_has_both_of_its_ends(low: float, high: float, text: str) -> None:
    assert spread(low, high) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (" \n\t\n", ""),
        ("\n\n  no data  \nmore", "no data"),
        ("12345678", "12345678"),
        ("123456789", "1234567…"),
        ("one\r\ntwo", "one"),
    ],
)
def test_the_first_line_that_says_something_is_cut_to_fit(text: str, line: str) -> None:
    assert first_line(text, limit=8) == line


@pytest.mark.parametrize(
    "time",
    [
        datetime(2030, 12, 31, 23, 4, 5, 999_999, tzinfo=UTC),
        datetime(2030, 12, 31, 23, 4, 5),
        datetime(2031, 1, 1, 8, 4, 5, tzinfo=timezone(timedelta(hours=9))),
        datetime(2030, 12, 31, 19, 34, 5, tzinfo=timezone(-timedelta(hours=3, minutes=30))),
    ],
    ids=["UTC", "no zone", "Tokyo", "west of Greenwich"],
)
def test_a_time_is_told_in_utc_to_the_second(time: datetime) -> None:
    assert utc(time) == "2030-12-31 23:04:05 UTC"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("clip_low", -INF, "none"),
        ("clip_high", INF, "none"),
        ("clipnorm", INF, "none"),
        ("clip_high", 2.0, "2"),
        ("kl_weight", INF, "–"),  # nothing stands for no weight
        ("clip_low", NAN, "–"),
    ],
)
def test_a_bound_that_is_absent_is_none(name: str, value: float, text: str) -> None:
    assert setting(name, value) == text


@pytest.mark.parametrize(
    ("text", "capital"), [("squared error", "Squared error"), ("Student's t", "Student's t"), ("", "")]
)
def test_a_sentence_begins_with_a_capital_and_keeps_its_names(text: str, capital: str) -> None:
    assert capitalized(text) == capital
