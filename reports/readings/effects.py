"""What hyperparameters do over their ranges, in words."""

from klsearch.studies.response import Change

_FACTOR = 2.0  # A change beyond it is told as a factor.


def percent(value: float) -> str:
    """A share in %, to two digits, or to a whole number from 10 % on.

    >>> [percent(value) for value in (0.004, 0.0123, 0.123, -0.05, 12.34)]
    ['0.4 %', '1.2 %', '12 %', '-5 %', '1234 %']
    """
    return f"{100 * value:.0f} %" if abs(value) >= 0.0995 else f"{100 * value:z.2g} %"


def change_words(change: Change) -> str:
    """A change with its interval, as a factor where that is more than 3; or that none is seen, and what it is below.

    >>> change_words(Change(0.12, 0.08, 0.17))
    'changes by 12 % (95 % 8 to 17 %)'
    >>> change_words(Change(0.01, -0.01, 0.02))
    'no effect seen: below 2 %'
    >>> change_words(Change(11.0, 7.0, 17.0))
    'changes by a factor of 12 (95 % 8 to 18)'
    """
    if not change.is_seen:
        return f"no effect seen: below {percent(max(change.high, 0.001))}"
    if change.share > _FACTOR:
        factor, low, high = (f"{1 + value:.3g}" for value in change)
        return f"changes by a factor of {factor} (95 % {low} to {high})"
    low = percent(change.low).removesuffix(" %")
    return f"changes by {percent(change.share)} (95 % {low} to {percent(change.high)})"
