"""Measured responses in words: what one step of a hyperparameter does, with its interval, and how it was measured."""

from klsearch.reports.readings.responses import Responses, Slope
from klsearch.reports.readings.units import kl_unit
from klsearch.reports.wording import count, share, within
from klsearch.studies.record import StudyRecord


def explain_too_few(measured: Responses) -> str:
    """Explain why nothing is said of how the measures respond."""
    return (
        f"Telling how the KL responds to each hyperparameter takes {measured.needed} trials that were trained to their "
        f"end and in which something varied; there are {measured.trials}."
    )


def describe_method(measured: Responses) -> str:
    """Describe how responses are measured, and how far to believe them."""
    log = "'s logarithm, taken because some trial ended far above the band" if measured.kl_is_log else ""
    left_out = f" ({measured.left_out} more diverged or were stopped early)" if measured.left_out else ""
    return (
        f"Measured over n = {count(measured.trials, 'trial')}{left_out}: least squares on all searched hyperparameters "
        f"at once, which explains {share(measured.explained)} of the variance of the KL{log}. Each number is a mean "
        f"slope with the others held. The search chose which settings to try, so this is not an experiment, and near "
        f"the winner a slope may differ."
    )


def kl_change(study: StudyRecord, measured: Responses, change: Slope) -> str:
    """The effect of one step on the KL, as a verb with its object."""
    if measured.kl_is_log:
        return f"multiplies the KL by {kl_cell(measured, change, mark='95 % ')}"
    told, interval = _signed(change)
    return f"changes the KL by {told} {kl_unit(study)} (95 % {interval})"


def kl_cell(measured: Responses, change: Slope, *, mark: str = "") -> str:
    """A change of the KL with its interval: a difference, or a factor where its logarithm was fitted."""
    if not measured.kl_is_log:
        told, interval = _signed(change)
        return f"{told} ({mark}{interval})"
    factor, low, high = (f"{10**decades:.3g}" for decades in (change.change, change.low, change.high))
    return f"{factor} ({mark}{low} to {high})"


def format_slope(change: Slope) -> str:
    """A change with its interval."""
    told, interval = _signed(change)
    return f"{told} (95 % {interval})"


def _signed(change: Slope) -> tuple[str, str]:
    """A change and its 95 % interval, with their signs."""
    return within(change.change, change.low, change.high, sign="+")
