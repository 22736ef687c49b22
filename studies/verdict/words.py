"""Numbers and counts as a reader of a verdict sees them; `reports.wording` has the rest."""

import math

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


def count(n: int, noun: str) -> str:
    """A count with its noun.

    >>> [count(1, "trial"), count(12000, "trial"), count(2, "loss")]
    ['1 trial', '12,000 trials', '2 losses']
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def spread(low: float, high: float) -> str:
    """An interval or a range in words, with as many digits, but at most six, as tell its ends apart.

    >>> spread(0.6756, 1.0), spread(-math.inf, math.inf), spread(0.123451, 0.123458)
    ('0.6756 to 1', '–', '0.12345 to 0.12346')
    """
    if not (math.isfinite(low) or math.isfinite(high)):
        return NOTHING
    told = number(low), number(high)
    for digits in (5, 6):
        if low == high or told[0] != told[1]:
            break
        told = f"{low:z.{digits}g}", f"{high:z.{digits}g}"
    return f"{told[0]} to {told[1]}"
