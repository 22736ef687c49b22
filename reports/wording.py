"""Numbers, times and counts as a reader sees them: short, plain, and still numbers when copied."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from klsearch.studies.verdict.words import NOTHING, count, number, share, spread
from klsearch.vae.hyperparameters import UNBOUNDED

__all__ = [
    "NOTHING",
    "count",
    "duration",
    "first_line",
    "listed",
    "number",
    "setting",
    "share",
    "spread",
    "utc",
    "within",
]


def within(value: float, low: float, high: float, *, sign: str = "") -> tuple[str, str]:
    """A number and its interval, with the digits that the interval bears: two of its half-width.

    Without a finite interval of some width, as `number` and `spread` have them.

    Args:
        value: the number.
        low: lower end of the interval.
        high: upper end.
        sign: "+" to show that of positive numbers too.

    >>> within(-13.4987, -15.451, -11.546), within(0.12345, 0.12001, 0.12687), within(4321, 3000, 5600)
    (('-13.5', '-15.5 to -11.5'), ('0.1235', '0.1200 to 0.1269'), ('4300', '3000 to 5600'))
    >>> within(1.5, -math.inf, math.inf)
    ('1.5', '–')
    """
    half = (high - low) / 2
    has_digits = math.isfinite(half) and half > 0 and math.isfinite(value)
    places = 1 - math.floor(math.log10(half)) if has_digits else 0
    if not (has_digits and -5 < places < 7):
        return f"{sign if value >= 0 and math.isfinite(value) else ''}{number(value)}", spread(low, high)
    told = [f"{round(one, places):{sign}z.{max(places, 0)}f}" for one in (value, low, high)]
    return told[0], f"{told[1]} to {told[2]}"


def listed(names: Sequence[str]) -> str:
    """Names as code, joined as a sentence does.

    >>> listed(["before"]), listed(["before", "after", "mine"])
    ('`before`', '`before`, `after` and `mine`')
    """
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), *quoted[-1:]]))


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    >>> [duration(value) for value in (0.1604, 9.96, 75, 7325, 200_000, math.nan)]
    ['0.16 s', '10 s', '1 min 15 s', '2 h 2 min', '2 d 7 h', '–']
    """
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    whole = round(seconds)
    for size, unit, smaller, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
    raise AssertionError("a span of at least a minute has a unit")


def capitalized(text: str) -> str:
    """The text with its first letter a capital, and no other letter changed."""
    return f"{text[:1].upper()}{text[1:]}"


def first_line(text: str, limit: int = 160) -> str:
    r"""The first line that says something, cut at `limit` characters.

    >>> first_line("\n  ValueError: no  \n  more")
    'ValueError: no'
    """
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def utc(time: datetime) -> str:
    """A time to the second, in UTC; one without a zone is taken to be UTC."""
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def setting(name: str, value: float | str | None) -> str:
    """A hyperparameter's value as a reader sees it: an absent bound is "none", and what `[training]` chooses a dash."""
    if value is None or isinstance(value, str):
        return value or NOTHING
    return "none" if math.isinf(value) and name in UNBOUNDED else number(value)
