"""The recipe's three remedies for a KL that still rises, each answered with what was measured in this study."""

from dataclasses import dataclass

from reports.evidence import kl_unit
from reports.parts import Block, Heading, Prose, Step, Steps
from reports.responses import Responses, Slope
from reports.wording import count, share
from studies.record import StudyRecord


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
    """What the recipe advises against a rising KL, and what each piece of advice does in this study."""
    heading = Heading(text="If the KL still rises: the recipe's remedies, as measured here")
    if not measured.found:
        return heading, Prose(text=too_few(measured))
    steps = tuple(_answer(study, measured, remedy) for remedy in _REMEDIES)
    return heading, Steps(items=steps), Prose(text=method(measured))


def too_few(measured: Responses) -> str:
    """Why nothing is said of how the measures respond."""
    return (
        f"How the KL responds to each hyperparameter takes {measured.needed} trials that did not diverge and in which "
        f"something varied; there are {measured.trials}."
    )


def method(measured: Responses) -> str:
    """How responses are measured, and how far to believe them."""
    log = "'s logarithm, taken because some trial ended far above the band" if measured.kl_is_log else ""
    left_out = f"; {count(measured.left_out, 'diverged trial')} left out" if measured.left_out else ""
    return (
        f"Measured over n = {count(measured.trials, 'trial')}{left_out}: least squares on all searched hyperparameters "
        f"at once, which explains {share(measured.explained)} of the variance of the KL{log}. Each number is a mean "
        f"slope with the others held. The search chose which settings to try, so this is no experiment, and near the "
        f"winner a slope may differ."
    )


def _answer(study: StudyRecord, measured: Responses, remedy: _Remedy) -> Step:
    known = [(name, sign) for name, sign in remedy.moves if name in measured.found]
    effects = [measured.found[name].kl.signed(sign).direction for name, sign in known]
    told = [_told(study, measured, name, sign) for name, sign in known]
    if told and remedy.moves[0][0] == "clip_low":
        told.append(f"In the median trial {share(measured.clip_share)} of the log-variances lie at a bound.")
    told += [f"`{name}` did not vary here (n = 0)." for name, _ in remedy.moves if name not in measured.found]
    return Step(action=f"{remedy.action}? {_verdict(effects)}", reason=" ".join(told))


def _verdict(effects: list[int]) -> str:
    if not effects:
        return "Not measured here"
    if min(effects) < 0 < max(effects):
        return "It depends on the bound here"
    if min(effects) < 0:
        return "It lowers the KL here"
    return "It would make it worse here" if max(effects) > 0 else "No effect on the KL can be told here"


def _told(study: StudyRecord, measured: Responses, name: str, sign: int) -> str:
    response = measured.found[name]
    kl, unexplained = response.kl.signed(sign), response.unexplained.signed(sign)
    moved = f"`{name}` {'higher' if sign > 0 else 'lower'} by {'one ' * (response.step == 'decade')}{response.step}"
    return (
        f"{moved[0].upper()}{moved[1:]} {kl_change(study, measured, kl)} and changes `unexplained` by "
        f"{slope(unexplained)}; n = {measured.trials}."
    )


def kl_change(study: StudyRecord, measured: Responses, change: Slope) -> str:
    """What one step does to the KL, as a verb with its object."""
    if measured.kl_is_log:
        return f"multiplies the KL by {kl_cell(measured, change, mark='95 % ')}"
    return f"changes the KL by {signed(change.change)} {kl_unit(study)} (95 % {interval(change)})"


def kl_cell(measured: Responses, change: Slope, *, mark: str = "") -> str:
    """A change of the KL with its interval: a difference, or a factor where its logarithm was fitted."""
    if not measured.kl_is_log:
        return f"{signed(change.change)} ({mark}{interval(change)})"
    factor, low, high = (f"{10**decades:.3g}" for decades in (change.change, change.low, change.high))
    return f"{factor} ({mark}{low} to {high})"


def slope(change: Slope) -> str:
    """A change with its interval."""
    return f"{signed(change.change)} (95 % {interval(change)})"


def interval(change: Slope) -> str:
    """The 95 % interval of a change."""
    return f"{signed(change.low)} to {signed(change.high)}"


def signed(change: float) -> str:
    """A change to 3 significant digits, with its sign."""
    return f"{change:+.3g}"
