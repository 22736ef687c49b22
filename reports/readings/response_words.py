"""Measured responses in words: what one step of a hyperparameter does, with its interval, and how it was measured."""

import math

from klsearch.reports.readings.responses import Responses, Slope
from klsearch.reports.readings.units import kl_unit
from klsearch.reports.wording import NOTHING, count, share
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
    return f"changes the KL by {format_signed(change.change)} {kl_unit(study)} (95 % {format_interval(change)})"


def kl_cell(measured: Responses, change: Slope, *, mark: str = "") -> str:
    """A change of the KL with its interval: a difference, or a factor where its logarithm was fitted."""
    if not measured.kl_is_log:
        return f"{format_signed(change.change)} ({mark}{format_interval(change)})"
    factor, low, high = (f"{10**decades:.3g}" for decades in (change.change, change.low, change.high))
    return f"{factor} ({mark}{low} to {high})"


def format_slope(change: Slope) -> str:
    """A change with its interval."""
    return f"{format_signed(change.change)} (95 % {format_interval(change)})"


def format_interval(change: Slope) -> str:
    """The 95 % interval of a change."""
    return f"{format_signed(change.low)} to {format_signed(change.high)}"


def format_signed(change: float) -> str:
    """A change to 3 significant digits, with its sign."""
    return f"{change:+z.3g}" if math.isfinite(change) else NOTHING  # "z": a zero is no change downwards
