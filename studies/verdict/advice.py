"""What to do next, the most important first: each with the number behind it, and none that contradicts another."""

import math
import sys
from collections.abc import Iterator

from klsearch.studies.definitions.proposed import toml_value
from klsearch.studies.definitions.sections import METHOD_NAMES, Split
from klsearch.studies.definitions.space import Range
from klsearch.studies.record import RunState, StudyRecord
from klsearch.studies.response import response_of
from klsearch.studies.verdict.candidates import (
    baseline_names,
    better_baseline,
    is_winner,
    reconstruction_difference,
    runs_of,
    ties,
)
from klsearch.studies.verdict.linear import surpass_pca
from klsearch.studies.verdict.price import prices
from klsearch.studies.verdict.remedies import Advice, remedy
from klsearch.studies.verdict.standing import Standing
from klsearch.studies.verdict.words import count, share, spread
from klsearch.vae.diagnostics.gates import MIN_CONFIRMATION_SEEDS, MIN_FINISHED_TRIALS, Verdict
from klsearch.vae.hyperparameters import RULES

_MOST_DROPOUT = 0.9
# The score counts nothing worse.
_CAP = 2.0
# The least number above 0.
_TINY = math.ulp(0.0)


def advise(study: StudyRecord, standing: Standing) -> Iterator[Advice]:
    """The advice whose conditions this study meets; never none, and worked out one by one."""
    is_advised = False
    for advice in _find_advice(study, standing):
        is_advised = True
        yield advice
    if is_advised:
        return
    if study.finished:
        yield Advice(action="Search elsewhere", reason=f"None of {count(len(study.finished), 'trial')} will do.")
    else:
        yield Advice(action="Run the search", reason="No trial has finished yet (n = 0).")


def _find_advice(study: StudyRecord, standing: Standing) -> Iterator[Advice]:
    """The advice whose conditions are met.

    One cause at a time: where seeds or trials fail, the remedy of the most frequent cause, and nothing of edges, more
    trials or an end of the search, which are about a study that has none.
    """
    errors, unfinished = list(_look_at_errors(study)), list(_go_on(study))
    is_hopeless = bool(study.complete) and all(trial.diverged for trial in study.complete)
    if is_hopeless and len(study.counted) >= study.definition.study.trials:
        unfinished = []  # more trials would diverge too
    if standing.best is None:
        yield from errors
    cure = None
    if len(study.counted) >= MIN_FINISHED_TRIALS or not unfinished or is_hopeless:
        cure = _cure(study, standing)
    if cure is not None:
        yield cure
    usable = standing.best is not None and standing.verdict in (Verdict.STABLE, Verdict.CAVEATS)
    widened: list[Advice] = []
    if cure is None and not unfinished and standing.verdict is not Verdict.NOT_STABLE:
        widened = [_widen(study, standing, name, side) for name, side in standing.edges]
    better = better_baseline(study)
    if usable:
        # It is proven; another search may find better, or by chance worse.
        yield _use(standing) if better is None else _use_baseline(study, better)
    yield from unfinished
    if cure is None:
        yield from _confirm(study, standing)
    yield from _do_not_rely(study, standing)
    if usable:
        others = [name for name in baseline_names(study) if name != better]
        yield from (_consider_baseline(study, name) for name in others if ties(study, name))
        if cure is None:
            yield from surpass_pca(study)
    yield from widened
    if cure is None and not unfinished and not widened:
        yield from _stop_or_search_on(study)
    if standing.best is not None:
        yield from errors


def _cure(study: StudyRecord, standing: Standing) -> Advice | None:
    """The remedy of the winner's seeds that fail, or of the trials where none is feasible."""
    confirmed = runs_of(study, "winner")
    if confirmed:
        return remedy(study, [run for run in confirmed if not run.passed], len(confirmed), standing.edges)
    complete = study.complete
    if not complete or any(trial.feasible for trial in complete):
        return None
    return remedy(study, complete, len(complete))


def _use(standing: Standing) -> Advice:
    assert standing.best is not None
    reason = f"{standing.passed} of {count(standing.seeds, 'fresh seed')} pass every gate."
    return Advice(action=f"Use the settings of trial {standing.best.number}", reason=reason)


def _go_on(study: StudyRecord) -> tuple[Advice, ...]:
    finished, asked = len(study.counted), study.definition.study.trials
    enough = finished >= MIN_FINISHED_TRIALS
    if finished >= asked and (enough or not study.trials):
        return ()
    reason = f"{finished} of {count(asked, 'trial')} {'has' if asked == 1 else 'have'} finished"
    needed = "" if enough else f"; at least {MIN_FINISHED_TRIALS} are needed for a verdict"
    more = f" --trials {MIN_FINISHED_TRIALS}" if study.resume_command and asked < MIN_FINISHED_TRIALS else ""
    return (Advice(action="Go on with the search", reason=f"{reason}{needed}.", code=f"{study.resume_command}{more}"),)


def _confirm(study: StudyRecord, standing: Standing) -> tuple[Advice, ...]:
    finished, asked = len(study.counted), study.definition.study.trials
    if standing.best is None or standing.seeds >= MIN_CONFIRMATION_SEEDS or finished < asked:
        return ()
    if finished >= MIN_FINISHED_TRIALS and not standing.best.feasible:
        return ()  # there is nothing yet that deserves it
    seeds, asked_seeds = count(standing.seeds, "fresh seed"), study.definition.confirmation.seeds
    reason = f"Trial {standing.best.number} was confirmed on {seeds}; {MIN_CONFIRMATION_SEEDS} are needed."
    if not asked_seeds:
        trials = count(len(study.finished), "trial")
        reason = f"`confirmation.seeds` is 0, so nothing is known beyond one training each of {trials}."
    too_few = asked_seeds < MIN_CONFIRMATION_SEEDS
    code = f"[confirmation]\nseeds = {MIN_CONFIRMATION_SEEDS}" if too_few else study.resume_command
    split = study.definition.data.split
    if too_few and study.definition.data.split_column is None and not split.test:
        test = min(Split().test, (1 - split.validation) / 2)
        reason += " No rows are held out as a test split for it yet, which takes a study of its own."
        code += f"\n\n[data.split]\nvalidation = {toml_value(split.validation)}\ntest = {toml_value(test)}"
    return (Advice(action="Confirm the winner", reason=reason, code=code),)


def _do_not_rely(study: StudyRecord, standing: Standing) -> tuple[Advice, ...]:
    if standing.best is None or not standing.seeds or standing.passed:
        return ()
    runs = runs_of(study, "winner")
    names = dict.fromkeys(gate.name for run in runs for gate in run.gates if not gate.passed)
    missed = ", ".join(
        f"{name} by {sum(any(g.name == name and not g.passed for g in run.gates) for run in runs)}" for name in names
    )
    which = f"All {standing.seeds} fresh seeds miss" if standing.seeds > 1 else "Its only fresh seed misses"
    reason = f"{which} a gate ({missed})."
    return (Advice(action=f"Do not rely on trial {standing.best.number}: no fresh seed passes", reason=reason),)


def _consider_baseline(study: StudyRecord, baseline: str) -> Advice:
    if is_winner(study, baseline):
        return Advice(
            action=f"Keep the settings of {baseline}",
            reason=f"They are the best found: no other of {count(len(study.finished), 'trial')} does better.",
        )
    return _take_baseline(study, baseline, f"Consider keeping the settings of {baseline}", verb="Consider")


def _use_baseline(study: StudyRecord, baseline: str) -> Advice:
    return _take_baseline(study, baseline, f"Use the settings of {baseline}, not the winner's", verb="Use")


def _take_baseline(study: StudyRecord, baseline: str, settings: str, *, verb: str) -> Advice:
    """Advice to use a baseline: its settings in these words, or the method that has none to search."""
    method, reason = study.definition.baseline_method(baseline), _baseline_reason(study, baseline)
    if method is None:
        return Advice(action=settings, reason=reason)
    return Advice(action=f"{verb} {METHOD_NAMES[method]} ({baseline}), which needs no search", reason=reason)


def _baseline_reason(study: StudyRecord, baseline: str) -> str:
    difference = reconstruction_difference(study, baseline)
    unknown = "one pair of seeds gives no interval" if difference.pairs else "no seed has the error of both"
    price = next((one.sentence for one in prices(study) if one.baseline == baseline), unknown)
    left_out = difference.left_out_words("winner", baseline)
    over = f"Over {count(difference.pairs, 'seed')}, {baseline}" if difference.pairs else f"The baseline {baseline}"
    reason = f"{over} passes no less often, and {price}"
    return reason + (f" ({left_out})." if left_out else ".")


def _widen(study: StudyRecord, standing: Standing, name: str, side: str) -> Advice:
    """Widen a range on whose edge the leading trial lies, as far as the hyperparameter has a meaning."""
    space = study.definition.space.searched()[name]
    low, high = widen_range(study, name, space, side)
    leads = "The leading trial" if standing.best is None else f"Trial {standing.best.number}"
    of = count(len(study.finished), "trial")
    at = f"{leads}, the first of {of}, lies on the {side} edge of {spread(space.low, space.high)}"
    if (low, high) == (space.low, space.high):
        return Advice(action=f"Leave the range of `{name}` as it is", reason=f"{at}, and there is no room beyond it.")
    log = ", log = true" if space.log else ""
    return Advice(
        action=f"Widen the range of `{name}` {'downwards' if side == 'low' else 'upwards'}",
        reason=f"{at}; better settings may lie beyond it.",
        code=f"[space]\n{name} = {{ low = {toml_value(low)}, high = {toml_value(high)}{log} }}",
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


def _look_at_errors(study: StudyRecord) -> tuple[Advice, ...]:
    failed = [trial for trial in study.trials if trial.state is RunState.FAILED and not trial.is_void]
    if not failed:
        return ()
    reason = f"{len(failed)} of {count(len(study.trials), 'trial')} ended with an error."
    return (Advice(action="Look at the errors", reason=reason),)


def _stop_or_search_on(study: StudyRecord) -> tuple[Advice, ...]:
    """Say whether more trials of this space are likely to pay."""
    if len(study.counted) < max(MIN_FINISHED_TRIALS, study.definition.study.trials):
        return ()
    response = response_of(study)
    found = None if response is None else response.decide()
    if found is None:
        return ()
    gain, tolerance = share(found.gain), share(found.tolerance)
    if gain == tolerance:
        gain, tolerance = (f"{100 * value:.2g} %" for value in (found.gain, found.tolerance))
    compared = (
        f"By a model of {found.trials} trials, another setting is expected to lower `unexplained` by "
        f"{gain} of trial {found.leader}'s at most; up to {tolerance} is within the noise of training."
    )
    if found.reached:
        return (
            Advice(
                action="Stop searching this space: enough has been searched",
                reason=f"{compared} More trials of this space will hardly help.",
            ),
        )
    if found.gain < found.tolerance or found.unexplained >= _CAP:
        return ()
    return (Advice(action="Search on: a better setting is expected", reason=compared, code=_further_command(study)),)


def _further_command(study: StudyRecord) -> str:
    return f"{study.resume_command} --trials {2 * len(study.counted)}" if study.resume_command else ""
