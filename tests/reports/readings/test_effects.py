"""Effects in words."""

import pytest

from klsearch.reports.readings.effects import change_words
from klsearch.studies.response import Change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change(0.12, 0.08, 0.17), "changes by 12 % (95 % 8 to 17 %)"),
        (Change(0.0382, 0.0058, 0.0716), "changes by 3.8 % (95 % 0.58 to 7.2 %)"),
        (Change(2.5, 1.0, 5.0), "changes by a factor of 3.5 (95 % 2 to 6)"),
        (Change(22.2, 19.6, 25.1), "changes by a factor of 23.2 (95 % 20.6 to 26.1)"),
        (Change(0.01, -0.01, 0.03), "no effect seen: below 3 %"),
        (Change(0.0, 0.0, 0.0), "no effect seen: below 0.1 %"),
    ],
)
def test_an_effect_is_told_with_its_interval_and_one_that_is_not_seen_with_what_it_is_below(
    change: Change, told: str
) -> None:
    assert change_words(change) == told
