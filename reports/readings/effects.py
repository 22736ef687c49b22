"""What hyperparameters do over their ranges, in words."""

from collections.abc import Iterable, Sequence

from klsearch.studies.response import Change, Effect

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


def answer_words(effects: Sequence[Effect]) -> str:
    """What the KL and what `unexplained` are seen to depend on, the largest effect of each first.

    >>> unseen, seen = Change(0.01, -0.01, 0.02), Change(0.12, 0.08, 0.17)
    >>> answer_words([Effect("kl_weight", seen, Change(11.0, 7.0, 17.0)), Effect("l2", unseen, seen)])
    'The KL is seen to depend on kl_weight (by a factor of 12) and l2 (by 12 %), `unexplained` on kl_weight (by 12 %).'
    >>> answer_words([Effect("l2", unseen, unseen)])
    'The KL is seen to depend on nothing that was searched, `unexplained` on nothing that was searched.'
    """
    kl = _dependence((effect.name, effect.kl) for effect in effects)
    unexplained = _dependence((effect.name, effect.unexplained) for effect in effects)
    return f"The KL is seen to depend on {kl}, `unexplained` on {unexplained}."


def _dependence(changes: Iterable[tuple[str, Change]]) -> str:
    seen = sorted(((name, change) for name, change in changes if change.is_seen), key=lambda one: -one[1].share)
    sizes = [f"a factor of {1 + one.share:.3g}" if one.share > _FACTOR else percent(one.share) for _, one in seen]
    told = [f"{name} (by {size})" for (name, _), size in zip(seen, sizes, strict=True)]
    return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else "".join(told) or "nothing that was searched"
