"""What a study may claim: its best trial, its verdict and the reasons, derived from the records alone."""

import math
from dataclasses import dataclass
from typing import Any

from klsearch.studies.record import StudyRecord, TrialRecord
from klsearch.studies.response import response_of
from klsearch.studies.verdict.advice import advise
from klsearch.studies.verdict.candidates import (
    baseline_names,
    beats,
    best_trial,
    dominating,
    is_winner,
    runs_of,
    ties,
)
from klsearch.studies.verdict.causes import SeedCause, failing_words, seed_causes
from klsearch.studies.verdict.linear import better_pca
from klsearch.studies.verdict.price import Price, price_words, prices
from klsearch.studies.verdict.remedies import Advice, own_settings_words
from klsearch.studies.verdict.standing import Standing
from klsearch.vae.diagnostics.gates import (
    MIN_CONFIRMATION_SEEDS,
    MIN_FINISHED_TRIALS,
    Verdict,
    verdict,
    wilson_interval,
)
from klsearch.vae.hyperparameters import RULES

_EDGE_SHARE = 0.02
_MOST_TOLD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Standing):
    """What the study says of itself.

    Attributes:
        why: the reasons, with their numbers: the seeds that pass, why others fail, what the winner costs.
        interval: Wilson's 95 % interval of the pass rate.
        causes: why seeds of the winner fail, the most frequent first.
        price: of the winner in reconstruction, against each baseline.
        next: what to do first.
    """

    why: str
    interval: tuple[float, float]
    causes: tuple[SeedCause, ...]
    price: tuple[Price, ...]
    next: Advice

    @property
    def sentence(self) -> str:
        """The verdict and why."""
        return f"{self.verdict.capitalize()}: {self.why}"


def edges(study: StudyRecord, trial: TrialRecord) -> tuple[tuple[str, str], ...]:
    """Searched hyperparameters within 2 % of their range (on its own scale) of an edge that could be widened."""
    found = []
    for name, space in study.definition.space.searched().items():
        scale = math.log if space.log else float
        low, high, value = scale(space.low), scale(space.high), scale(getattr(trial.hyperparameters, name))
        share = (value - low) / (high - low)
        # Below the least there is nothing: a winner without annealing or dropout lies on no edge to be widened.
        if share <= _EDGE_SHARE and space.low > RULES[name].least:
            found.append((name, "low"))
        elif share >= 1 - _EDGE_SHARE:
            found.append((name, "high"))
    return tuple(found)


def pressed_edges(study: StudyRecord, trial: TrialRecord) -> tuple[tuple[str, str], ...]:
    """The edges on which a trial lies and which matter there, as the model of all trials has it.

    One is left out where the model sees neither `unexplained` improve towards it nor the KL depend on it near an end of
    the band; see `Response.presses`. Where there are too few trials for a model, every edge counts.
    """
    found = edges(study, trial)
    model = response_of(study) if found else None
    if model is None:
        return found
    values = {name: getattr(trial.hyperparameters, name) for name in model.ranges}
    return tuple((name, side) for name, side in found if model.presses(values, name, side))


def summarize(study: StudyRecord) -> Summary:
    """The study's verdict, with its reasons."""
    confirmed = runs_of(study, "winner")
    best = next((t for t in study.trials if t.number == study.winner), None) or best_trial(study.trials)
    passed, seeds = sum(run.passed for run in confirmed), len(confirmed)
    # Where no seed passes, what is wrong is not that a range ends.
    edge = pressed_edges(study, best) if best is not None and (passed or not seeds) else ()
    caveats = tuple(f"{name} lies on the {side} edge of its range" for name, side in edge)
    if passed:
        caveats += (*_baseline_caveats(study), *_test_caveats(study), *_linear_caveats(study))
    word = verdict(passed, seeds, finished_trials=len(study.counted), caveats=caveats)
    numbers: dict[str, Any] = dict(verdict=word, best=best, passed=passed, seeds=seeds, caveats=caveats, edges=edge)
    standing = Standing(**numbers)
    causes = seed_causes([run for run in confirmed if not run.passed], study.definition.thresholds())
    price = prices(study)
    return Summary(
        **numbers,
        why=_why(study, standing, causes, price),
        interval=wilson_interval(passed, seeds),
        causes=causes,
        price=price,
        next=next(advise(study, standing)),
    )


def _baseline_caveats(study: StudyRecord) -> tuple[str, ...]:
    return tuple(
        f"baseline {name} does {'better' if beats(study, name) else 'as well'}"
        for name in baseline_names(study)
        if ties(study, name) and not is_winner(study, name)
    )


def _test_caveats(study: StudyRecord) -> tuple[str, ...]:
    """The winner's seeds whose KL on the test split lies outside the band that validation is judged by."""
    thresholds = study.definition.thresholds()
    low, high = thresholds.kl_band
    runs = runs_of(study, "winner")
    tests = [run.test for run in runs if run.test is not None]
    kls = [thresholds.banded_kl(measures.kl, measures.latent_dim) for measures in tests]
    outside = sorted((kl for kl in kls if math.isfinite(kl) and not low <= kl <= high), reverse=True)
    if not outside:
        return ()
    told = ", ".join(f"{kl:.3g}" for kl in outside)
    if len(outside) > _MOST_TOLD:
        told = f"{outside[-1]:.3g} to {outside[0]:.3g}"
    seeds = f"{len(outside)} of {len(runs)} seeds"
    return (f"the KL of {seeds} lies outside the band of {low:g} to {high:g} on the test split ({told})",)


def _linear_caveats(study: StudyRecord) -> tuple[str, ...]:
    found = better_pca(study)
    if found is None:
        return ()
    latents = study.definition.model.latent_dim
    numbers = f"`unexplained` {found[0]:.3g} against {found[1]:.3g} on the test split"
    return (f"a PCA with {latents} components reconstructs better ({numbers})",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinceConfirmed:
    """What finished after the winner was confirmed.

    Attributes:
        trials: how many trials.
        better: the best of them, if it scores better than the winner did in the search.
        sentence: that, and how to confirm anew.
    """

    trials: int
    better: int | None
    sentence: str


def since_confirmed(study: StudyRecord) -> SinceConfirmed | None:
    """What finished since the winner was confirmed; None where nothing did, or nothing is confirmed."""
    winner = next((trial for trial in study.trials if trial.number == study.winner), None)
    later = _later(study)
    if winner is None or not later:
        return None
    best = best_trial((winner, *later))
    better = best if best is not winner else None
    found = "none of them scores better" if better is None else f"trial {better.number} scores better"
    if better is not None and better.feasible == winner.feasible:
        found += f" ({better.score:.4g} against {winner.score:.4g})"
    more = "1 more trial" if len(later) == 1 else f"{len(later)} more trials"
    text = f"The winner, trial {winner.number}, was confirmed before {more} finished; {found}."
    command = study.resume_command
    if len(study.counted) >= study.definition.study.trials:
        command = command.replace("klsearch resume", "klsearch confirm", 1)
    way = f" Confirm anew with `{command}`." if command else ""
    return SinceConfirmed(trials=len(later), better=None if better is None else better.number, sentence=f"{text}{way}")


def _later(study: StudyRecord) -> list[TrialRecord]:
    """The trials that finished after the winner was chosen, by number or, of the first release, by the clock."""
    ended = sorted((t for t in study.finished if t.ended is not None), key=lambda t: (t.ended, t.number))
    if study.confirmed_among is not None:
        return ended[study.confirmed_among :]
    last = max((run.started for run in study.confirmation if run.started is not None), default=None)
    return [trial for trial in ended if trial.ended is not None and last is not None and trial.ended > last]


def _why(study: StudyRecord, standing: Standing, causes: tuple[SeedCause, ...], price: tuple[Price, ...]) -> str:
    """Why the verdict is what it is."""
    own = own_settings_words(study)
    parts = [_standing_words(study, standing)]
    if own:
        parts.append(f"{own[0].upper()}{own[1:]}.")
    if standing.seeds:
        if failing := failing_words(standing.seeds - standing.passed, standing.seeds, causes):
            parts.append(f"{failing}.")
        same = [name for name in baseline_names(study) if is_winner(study, name)]
        if same and standing.passed:
            names = " and ".join(f"`{name}`" for name in same)
            whose = "Your settings" if set(same) <= set(study.definition.baselines) else "The recipe's settings"
            parts.append(f"{whose} ({names}) are the best found.")
        if price:
            parts.append(price_words(price))
        if (other := dominating(study)) is not None:
            parts.append(
                f"Trial {other.number} reconstructs better (`unexplained` {other.unexplained:.3g}) with a KL nearer "
                "the middle of the band, and misses only `settled`."
            )
    return " ".join(parts)


def _standing_words(study: StudyRecord, standing: Standing) -> str:
    finished, best = len(study.counted), standing.best
    if best is None:
        if study.finished:
            return f"None of {len(study.finished)} finished trials was trained to its end."
        return f"No trial has finished yet ({len(study.trials)} started)."
    if standing.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        if finished < MIN_FINISHED_TRIALS:
            earlier = len(study.finished) - finished
            beside = f" beside {earlier} of an earlier study" if earlier else ""
            trials = "trial has" if finished == 1 else "trials have"
            return f"Only {finished} {trials} finished{beside}; {MIN_FINISHED_TRIALS} are needed to judge."
        seeds = f"confirmed on {standing.seeds} fresh seeds; {MIN_CONFIRMATION_SEEDS} are needed."
        return f"Trial {best.number} leads, {seeds}"
    low, high = wilson_interval(standing.passed, standing.seeds)
    pass_words = f"{standing.passed} of {standing.seeds} fresh seeds pass all gates"
    text = f"Trial {best.number}: {pass_words} (95 % interval {low:.2f} to {high:.2f})"
    if not standing.caveats:
        return f"{text}."
    joined = "; ".join(standing.caveats)
    return f"{text}, {'but' if standing.verdict is Verdict.CAVEATS else 'and'} {joined}."
