"""*What next?* Advice that follows from this study's numbers, each sentence with the number and the n behind it."""

import math
import sys

from klsearch.reports.page import Section, Step, Steps
from klsearch.reports.readings.causes import Cause, collapsed_in_band
from klsearch.reports.readings.differences import difference_on_test
from klsearch.reports.readings.remedies import remedy_blocks
from klsearch.reports.readings.response_words import kl_change
from klsearch.reports.readings.responses import Responses
from klsearch.reports.readings.units import kl_factor
from klsearch.reports.wording import count, number, share, spread, toml_number
from klsearch.studies.definitions.sections import METHOD_NAMES, Split
from klsearch.studies.definitions.space import Range
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.studies.response import Response
from klsearch.studies.summary import Difference, Summary, baseline_names, best_trial, runs_of, ties
from klsearch.vae.diagnostics.gates import (
    CONSTRAINT_GATES,
    MIN_CONFIRMATION_SEEDS,
    MIN_FINISHED_TRIALS,
    MOVING,
    Verdict,
)
from klsearch.vae.hyperparameters import RULES

_STOP = "Stop searching this space: enough has been searched"
_SEARCH_ON = "Search on: a better setting is expected"
_MANY = 0.2
_MOST_DROPOUT = 0.9
# A straight line is not to be believed further beyond the trials than this.
_MOST_DECADES = 2.0
# The least number above 0.
_TINY = math.ulp(0.0)


def advice_section(study: StudyRecord, summary: Summary, causes: tuple[Cause, ...], measured: Responses) -> Section:
    """The things to do with this study, the most important first, and what the recipe's own advice does here.

    Args:
        study: the records.
        summary: as `studies.summary.summarize` gives it.
        causes: as `reports.readings.causes.causes` gives them.
        measured: as `reports.readings.responses.responses` gives it.
    """
    steps = Steps(items=advise(study, summary, causes, measured))
    return Section(identity="next", title="What next?", blocks=(steps, *remedy_blocks(study, measured)))


def advise(study: StudyRecord, summary: Summary, causes: tuple[Cause, ...], measured: Responses) -> tuple[Step, ...]:
    """The advice whose conditions this study meets; never none."""
    nearest = _search_around_nearest(study, causes, measured)
    # One range of KL weights to search next is enough.
    given = {"kl_weight"} if any(step.code for step in nearest) else set[str]()
    found = (
        *_use(study, summary),
        *_look_at_errors(study),
        *_go_on(study),
        *nearest,
        *_confirm(study, summary),
        *_look_at_seeds(summary, study),
        *_consider_baselines(study, summary),
        *(_widen(study, summary, name, side) for name, side in summary.edges if name not in given),
        *_train_longer(study, causes),
        *_lower_weights(study),
        *_stop_or_search_on(study),
    )
    return found or (Step(action="Run the search", reason="No trial has finished yet (n = 0)."),)


def _use(study: StudyRecord, summary: Summary) -> tuple[Step, ...]:
    if summary.best is None or summary.verdict not in (Verdict.STABLE, Verdict.CAVEATS):
        return ()
    reason = (
        f"{summary.passed} of {count(summary.seeds, 'fresh seed')} pass every gate; its settings are above, ready to "
        "copy."
    )
    return (Step(action=f"Use the settings of trial {summary.best.number}", reason=reason),)


def _go_on(study: StudyRecord) -> tuple[Step, ...]:
    finished, asked = len(study.counted), study.definition.study.trials
    if finished >= asked:
        return ()
    reason = f"{finished} of {count(asked, 'trial')} have finished"
    enough = finished >= MIN_FINISHED_TRIALS
    needed = "" if enough else f"; at least {MIN_FINISHED_TRIALS} are needed for a verdict"
    return (Step(action="Go on with the search", reason=f"{reason}{needed}.", code=study.resume_command),)


def _search_around_nearest(study: StudyRecord, causes: tuple[Cause, ...], measured: Responses) -> tuple[Step, ...]:
    """Name, where nothing is feasible, what came nearest, what most trials miss by, and the range to search next."""
    complete = study.complete
    nearest = best_trial(study.trials)  # of the search; its seeds may have spoken for another one since
    if nearest is None or len(complete) < MIN_FINISHED_TRIALS or any(trial.feasible for trial in complete):
        return ()
    if nearest.diverged:
        reason = f"All {count(len(complete), 'complete trial')} diverged or miss every gate they were measured for."
        return (Step(action="Search elsewhere: nothing stayed finite", reason=reason),)
    most = ""
    if causes:
        frequent = causes[0]
        most = f" The most frequent reason is '{frequent.name}', in {len(frequent.trials)} of them"
        most += f", most often with {frequent.region}." if frequent.region else "."
    none = f"None of {count(len(complete), 'complete trial')} is feasible."
    reason = f"{none} Trial {nearest.number} came nearest: {_misses(nearest)}.{most}"
    towards, code = _next_weights(study, nearest, measured)
    return (Step(action=f"Search around trial {nearest.number}", reason=f"{reason}{towards}", code=code),)


def _next_weights(study: StudyRecord, nearest: TrialRecord, measured: Responses) -> tuple[str, str]:
    """The KL weights to search next, as the reason and the TOML; empty where the KL weight is not searched in decades.

    Where the nearest trial misses the band and the KL surely responds to the KL weight, the range is centred where
    that response reaches the middle of the band, at most two decades away; else on the nearest trial.
    """
    space, response = study.definition.space.searched().get("kl_weight"), measured.found.get("kl_weight")
    if space is None or not space.log:
        return "", ""
    low, high = study.definition.thresholds().kl_band
    kl, decades, why = kl_factor(study) * nearest.kl, 0.0, ""
    if response is not None and response.kl.direction and kl > 0 and not low <= kl <= high:
        middle = (low + high) / 2
        decades = (math.log10(middle / kl) if measured.kl_is_log else middle - kl) / response.kl.change
        decades = min(max(decades, -_MOST_DECADES), _MOST_DECADES)
        side = "higher" if decades > 0 else "lower"
        why = (
            f" A decade more of KL weight {kl_change(study, measured, response.kl)}; n = {measured.trials}. So look "
            f"for the band at {side} weights."
        )
    centre = nearest.hyperparameters.kl_weight * 10**decades
    if not RULES["kl_weight"].least < 0.1 * centre < sys.float_info.max / 1000:
        return "", ""
    ends = (toml_number(float(f"{centre * factor:.2g}")) for factor in (0.1, 10))
    return why, "[space]\nkl_weight = {{ low = {}, high = {}, log = true }}".format(*ends)


def _misses(trial: TrialRecord) -> str:
    missed = [gate for gate in trial.gates if gate.name in CONSTRAINT_GATES and not gate.passed]
    return "; ".join(f"{gate.name} {number(gate.value)} against {gate.threshold}" for gate in missed)


def _confirm(study: StudyRecord, summary: Summary) -> tuple[Step, ...]:
    finished, asked = len(study.counted), study.definition.study.trials
    if summary.best is None or summary.seeds >= MIN_CONFIRMATION_SEEDS or finished < asked:
        return ()
    if finished >= MIN_FINISHED_TRIALS and not summary.best.feasible:
        return ()  # there is nothing yet that deserves it
    seeds, asked_seeds = count(summary.seeds, "fresh seed"), study.definition.confirmation.seeds
    reason = f"Trial {summary.best.number} was confirmed on {seeds}; {MIN_CONFIRMATION_SEEDS} are needed."
    if not asked_seeds:
        trials = count(len(study.finished), "trial")
        reason = f"`confirmation.seeds` is 0, so nothing is known beyond one training each of {trials}."
    too_few = asked_seeds < MIN_CONFIRMATION_SEEDS
    code = f"[confirmation]\nseeds = {MIN_CONFIRMATION_SEEDS}" if too_few else study.resume_command
    split = study.definition.data.split
    if too_few and study.definition.data.split_column is None and not split.test:
        test = min(Split().test, (1 - split.validation) / 2)
        reason += " No rows are held out as a test split for it yet, which takes a study of its own."
        code += f"\n\n[data.split]\nvalidation = {toml_number(split.validation)}\ntest = {toml_number(test)}"
    return (Step(action="Confirm the winner", reason=reason, code=code),)


def _look_at_seeds(summary: Summary, study: StudyRecord) -> tuple[Step, ...]:
    if summary.best is None or not summary.seeds or summary.passed == summary.seeds:
        return ()
    runs = [run for run in runs_of(study, "winner") if not run.passed]
    names = dict.fromkeys(gate.name for run in runs for gate in run.gates if not gate.passed)
    missed = ", ".join(
        f"{name} by {sum(any(g.name == name and not g.passed for g in run.gates) for run in runs)}" for name in names
    )
    reason = f"{len(runs)} of {count(summary.seeds, 'seed')} of trial {summary.best.number} miss a gate ({missed})."
    if not summary.passed:
        return (Step(action=f"Do not rely on trial {summary.best.number}: no fresh seed passes", reason=reason),)
    return (Step(action="Look at the seeds that fail before relying on the winner", reason=reason),)


def _consider_baselines(study: StudyRecord, summary: Summary) -> tuple[Step, ...]:
    names = [name for name in baseline_names(study) if ties(study, name)] if summary.seeds else []
    return tuple(_consider_baseline(study, name) for name in names)


def _consider_baseline(study: StudyRecord, baseline: str) -> Step:
    difference = difference_on_test(study, baseline, lambda measures: measures.unexplained)
    reason = (
        f"Over {count(difference.pairs, 'seed')}, {baseline} passes no less often, and the winner's `unexplained` "
        f"on the test split is not surely lower: winner less {baseline} {number(difference.mean)} "
        f"({_sureness(difference, baseline)})."
    )
    method = study.definition.baseline_method(baseline)
    instead = f"keeping the settings of {baseline}"
    if method is not None:
        instead = f"{METHOD_NAMES[method]} ({baseline}), which needs no search"
    return Step(action=f"Consider {instead}", reason=reason)


def _sureness(difference: Difference, baseline: str) -> str:
    """The interval of a difference, if there is one, and who diverged."""
    interval = "needs 2 pairs for an interval"
    if difference.pairs > 1:
        interval = f"95 % {spread(difference.low, difference.high)}"
    left_out = difference.left_out_words("winner", baseline)
    return f"{interval}; {left_out}" if left_out else interval


def _widen(study: StudyRecord, summary: Summary, name: str, side: str) -> Step:
    """Widen a range on whose edge the leading trial lies, as far as the hyperparameter has a meaning."""
    space = study.definition.space.searched()[name]
    low, high = widen_range(study, name, space, side)
    leads = "The leading trial" if summary.best is None else f"Trial {summary.best.number}"
    of = count(len(study.finished), "trial")
    at = f"{leads}, the first of {of}, lies on the {side} edge of {spread(space.low, space.high)}"
    if (low, high) == (space.low, space.high):
        return Step(action=f"Leave the range of `{name}` as it is", reason=f"{at}, and there is no room beyond it.")
    log = ", log = true" if space.log else ""
    return Step(
        action=f"Widen the range of `{name}` {'downwards' if side == 'low' else 'upwards'}",
        reason=f"{at}; better settings may lie beyond it.",
        code=f"[space]\n{name} = {{ low = {toml_number(low)}, high = {toml_number(high)}{log} }}",
    )


def widen_range(study: StudyRecord, name: str, space: Range, side: str) -> tuple[float, float]:
    """The range with one side moved out: by a factor of ten on a log scale, else by half its width.

    Never beyond what the definition accepts of the hyperparameter and what it can mean: annealing has to end before
    the window that is judged, the clip bounds keep their order, and dropout stays below 0.9. The other side stays as
    it is.
    """
    least, most = _limits(study, name)
    step = space.high / 2 - space.low / 2  # which, unlike half the difference, cannot overflow
    step = max(step, 1) if space.integer else step
    if side == "low":
        low = _round_end(space.low / 10 if space.log else space.low - step, space)
        if not RULES[name].allows(low):
            low = max(_round_end(space.low / 10, space), _TINY) if RULES[name].above else RULES[name].least
        return _fit_to_kind(max(low, min(least, space.low)), space), space.high
    high = _round_end(space.high * 10 if space.log else space.high + step, space)
    return space.low, _fit_to_kind(min(high, max(most, space.high)), space)


def _round_end(end: float, space: Range) -> float:
    """The moved end to four digits, where it then still lies outside the range."""
    end = min(max(end, -sys.float_info.max), sys.float_info.max)
    rounded = float(f"{end:.4g}")
    return rounded if math.isfinite(rounded) and not space.low <= rounded <= space.high else end


def _fit_to_kind(end: float, space: Range) -> float:
    if space.integer:
        return max(int(end), 1) if space.log else int(end)
    return max(end, _TINY) if space.log else end


def _limits(study: StudyRecord, name: str) -> tuple[float, float]:
    asked = study.definition
    bounds = {key: (one.low, one.high) for key, one in asked.space.searched().items()}
    bounds |= {key: (value, value) for key, value in asked.space.fixed().items()}
    infinite = float("inf")
    below_high, above_low = bounds["clip_high"][0], bounds["clip_low"][1]
    limits = {
        # Far from 0, a number less 1 is the number itself.
        "clip_low": (-infinite, min(below_high - 1, math.nextafter(below_high, -infinite))),
        "clip_high": (max(above_low + 1, math.nextafter(above_low, infinite)), infinite),
        "annealing_epochs": (0.0, float(asked.training.epochs - asked.gates.window)),
        "encoder_dropout": (0.0, _MOST_DROPOUT),
    }
    return limits.get(name, (RULES[name].least, infinite))


def _train_longer(study: StudyRecord, causes: tuple[Cause, ...]) -> tuple[Step, ...]:
    moving = next((cause for cause in causes if cause.name == MOVING), None)
    complete = len(study.complete)
    if moving is None or len(moving.trials) < _MANY * complete:
        return ()
    epochs = study.definition.training.epochs
    return (
        Step(
            action="Train longer",
            reason=(
                f"In {len(moving.trials)} of {count(complete, 'complete trial')} the KL still moves after {epochs} "
                "epochs."
            ),
            code=f"[training]\nepochs = {round(1.5 * epochs)}",
        ),
    )


def _lower_weights(study: StudyRecord) -> tuple[Step, ...]:
    collapsed, complete = collapsed_in_band(study), len(study.complete)
    if len(collapsed) < _MANY * max(1, complete):
        return ()
    weights = [trial.hyperparameters.kl_weight for trial in collapsed]
    reason = (
        f"{len(collapsed)} of {count(complete, 'complete trial')} collapsed with a KL inside the band, at KL "
        f"weights of {spread(min(weights), max(weights))}."
    )
    return (Step(action="Search lower KL weights", reason=reason),)


def _look_at_errors(study: StudyRecord) -> tuple[Step, ...]:
    failed = [trial for trial in study.trials if trial.state is RunState.FAILED]
    if not failed:
        return ()
    reason = f"{len(failed)} of {count(len(study.trials), 'trial')} ended with an error; the texts are above."
    return (Step(action="Look at the errors", reason=reason),)


def _stop_or_search_on(study: StudyRecord) -> tuple[Step, ...]:
    """Say whether more trials of this space are likely to pay."""
    if len(study.counted) < max(MIN_FINISHED_TRIALS, study.definition.study.trials):
        return ()
    response = Response.of(study.definition, study.trials)
    found = None if response is None else response.decide()
    if found is None:
        return ()
    compared = (
        f"By a model of {found.trials} trials, another setting is expected to lower `unexplained` by "
        f"{share(found.gain)} of trial {found.leader}'s at most; up to {share(found.tolerance)} is within the noise of "
        "training."
    )
    if found.reached:
        return (Step(action=_STOP, reason=f"{compared} More trials of this space will hardly help."),)
    return (Step(action=_SEARCH_ON, reason=compared, code=_further_command(study)),)


def _further_command(study: StudyRecord) -> str:
    return f"{study.resume_command} --trials {2 * len(study.counted)}" if study.resume_command else ""
