"""The recipe's three remedies for a KL that still rises, each answered with what was measured in this study.

They lower the KL. Where this study's fails below the band, what raises it is the help.
"""

from dataclasses import dataclass

from klsearch.reports.page import Block, Heading, Prose, Step, Steps
from klsearch.reports.readings.response_words import describe_method, explain_too_few, format_slope, kl_change
from klsearch.reports.readings.responses import Responses
from klsearch.reports.wording import share
from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.remedies import side_of_band


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remedy:
    """A piece of the recipe's advice.

    Attributes:
        action: what it says to do.
        moves: the hyperparameters that it moves, each with 1 for up and −1 for down.
    """

    action: str
    moves: tuple[tuple[str, int], ...]


_REMEDIES = (
    _Remedy(action="Lower the KL weight", moves=(("kl_weight", -1),)),
    _Remedy(action="Clip the log-variance harder", moves=(("clip_low", 1), ("clip_high", -1))),
    _Remedy(action="Add encoder dropout", moves=(("encoder_dropout", 1),)),
)


def remedy_blocks(study: StudyRecord, measured: Responses) -> tuple[Block, ...]:
    """The recipe's advice against a rising KL, and what each piece of it does in this study."""
    low = side_of_band(study) < 0
    state = "The KL is too low here" if low else "If the KL still rises"
    heading = Heading(text=f"{state}: the recipe's remedies, as measured here")
    if not measured.found:
        return heading, Prose(text=explain_too_few(measured))
    steps = tuple(_answer(study, measured, remedy, low=low) for remedy in _REMEDIES)
    return heading, Steps(items=steps), Prose(text=describe_method(measured))


def _answer(study: StudyRecord, measured: Responses, remedy: _Remedy, *, low: bool) -> Step:
    known = [(name, sign) for name, sign in remedy.moves if name in measured.found]
    effects = [measured.found[name].kl.for_step(sign).direction for name, sign in known]
    told = [_describe_effect(study, measured, name, sign) for name, sign in known]
    if told and remedy.moves[0][0] == "clip_low":
        told.append(f"In the median trial {share(measured.clip_share)} of the log-variances lie at a bound.")
    told += [f"`{name}` did not vary here (n = 0)." for name, _ in remedy.moves if name not in measured.found]
    return Step(action=f"{remedy.action}? {_verdict(effects, low=low)}", reason=" ".join(told))


def _verdict(effects: list[int], *, low: bool) -> str:
    """Whether a remedy helps: effects are directions of the KL, which is too low or too high."""
    if not effects:
        return "Not measured here"
    if min(effects) < 0 < max(effects):
        return "It depends on the bound here"
    if min(effects) < 0:
        return "It lowers the KL further here" if low else "It lowers the KL here"
    if max(effects) > 0:
        return "It raises the KL here, which is what it needs" if low else "It would make it worse here"
    return "No effect on the KL can be seen here"


def _describe_effect(study: StudyRecord, measured: Responses, name: str, sign: int) -> str:
    response = measured.found[name]
    kl, unexplained = response.kl.for_step(sign), response.unexplained.for_step(sign)
    moved = f"`{name}` {'higher' if sign > 0 else 'lower'} by {'one ' * (response.step == 'decade')}{response.step}"
    return (
        f"{moved} {kl_change(study, measured, kl)} and changes `unexplained` by "
        f"{format_slope(unexplained)}; n = {measured.trials}."
    )
