"""Options that commands share, what their values mean, and what the shell completes."""

from typing import TYPE_CHECKING

import pytest
from click import BadParameter

from klsearch.search.commands.options import Duration

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1h2m3s", 3723),
        ("0", 0),
    ],
)
def test_a_time_is_written_with_its_units(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 m", "-5s", "5w", "1h 30m", "m", "1e3", "10mm"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadParameter, match="write it as 90s, 10m or 1h30m"):
        Duration().convert(text, None, None)
