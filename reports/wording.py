"""Numbers, times and counts as a reader sees them: short, plain, and still numbers when copied."""

import math
from datetime import UTC, datetime

from klsearch.vae.hyperparameters import UNBOUNDED

NOTHING = "–"
"""What stands where there is no number."""


def number(value: float | None) -> str:
    """The value to 4 significant digits; whole numbers below a million in full.

    An ASCII minus and a plain exponent, so that a number copied from the report is one to any program. A zero has no
    sign.

    >>> [number(value) for value in (0.123456, 1234.56, 12, 3.2e-7, -math.inf, math.nan, None)]
    ['0.1235', '1235', '12', '3.2e-07', '–', '–', '–']
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if 1e3 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:z.4g}"


def share(value: float) -> str:
    """A share in [0, 1] as a percentage without decimals; one that is not quite none or all never reads as such.

    >>> [share(value) for value in (0.0, 0.004, 0.5, 0.999, 1.0, math.nan)]
    ['0 %', '<1 %', '50 %', '>99 %', '100 %', '–']
    """
    if not math.isfinite(value):
        return NOTHING
    if 0 < value < 0.01:
        return "<1 %"
    if 0.99 < value < 1:
        return ">99 %"
    return f"{100 * value:.0f} %"


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


def count(n: int, noun: str) -> str:
    """A count with its noun.

    >>> [count(1, "trial"), count(12000, "trial"), count(2, "loss")]
    ['1 trial', '12,000 trials', '2 losses']
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def spread(low: float, high: float) -> str:
    """An interval or a range in words.

    >>> spread(0.6756, 1.0), spread(-math.inf, math.inf)
    ('0.6756 to 1', '–')
    """
    if not (math.isfinite(low) or math.isfinite(high)):
        return NOTHING
    return f"{number(low)} to {number(high)}"


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


def setting(name: str, value: float) -> str:
    """A hyperparameter's value as a reader sees it; an absent bound is "none"."""
    return "none" if math.isinf(value) and name in UNBOUNDED else number(value)


def toml_number(value: float) -> str:
    """The number as TOML that reads back to the same one.

    >>> [toml_number(value) for value in (12, 0.1, 1e-05, math.inf)]
    ['12', '0.1', '1e-05', 'inf']
    """
    return repr(value) if isinstance(value, int) else repr(float(value))
