"""The ladder: trainings over the range of the KL weight, all else as the recipe, and what they say of the band."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import Self

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.space import Range
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.vae.hyperparameters import AFTER, CHOICES, RULES, Hyperparameters

LADDER = "ladder"
"""The origin of a trial that is a rung, and no baseline."""

# More cost decisions: on digits ten rungs took 47 trials to decide, six 33, none 47 (means of three seeds each).
_RUNGS = 6
CLOSING_RUNGS = 5
"""The most trainings of the ladder with which a study ends: enough for a line through them."""


def count_rungs(definition: StudyDefinition) -> int:
    """The number of rungs that a new study begins with, whatever its budget; 0 where the KL weight is fixed."""
    return _RUNGS if "kl_weight" in definition.space.searched() else 0


def rung_settings(definition: StudyDefinition, count: int) -> tuple[Hyperparameters, ...]:
    """The rungs' settings, in ascending KL weight.

    KL weights lie evenly over their range, on its own scale, to three digits: every machine gets the same. All else is
    the recipe's, the nearest value in its range; fixed numbers stay. A choice is that of `[training]`, or the first to
    choose from. Narrow ranges hold fewer than `count`.
    """
    if not count:
        return ()
    recipe = {**asdict(AFTER), **definition.fixed_settings()}
    searched, choices = definition.space.searched(), definition.space.choices()
    values = {name: min(max(recipe[name], one.low), one.high) for name, one in searched.items()}
    values |= {name: recipe[name] if recipe[name] in options else options[0] for name, options in choices.items()}
    return tuple(definition.hyperparameters({**values, "kl_weight": weight}) for weight in _weights(definition, count))


def closing_settings(definition: StudyDefinition, winner: Hyperparameters) -> tuple[Hyperparameters, ...]:
    """The settings of the ladder with which a study ends, in ascending KL weight: all else as its winner has it."""
    return tuple(replace(winner, kl_weight=weight) for weight in _weights(definition, CLOSING_RUNGS))


def _weights(definition: StudyDefinition, count: int) -> tuple[float, ...]:
    range_ = definition.space.searched()["kl_weight"]
    return tuple(dict.fromkeys(_weight_at(range_, index / (count - 1)) for index in range(count)))


def _weight_at(range_: Range, share: float) -> float:
    low, high = range_.low, range_.high
    weight = low * (high / low) ** share if range_.log else low + share * (high - low)
    return min(max(float(f"{weight:.3g}"), low), high)


class Place(StrEnum):
    """Where a rung's KL lies. One that is not above the band, with too few active latents, has collapsed."""

    IN = "in the band"
    ABOVE = "above it"
    BELOW = "below it"
    COLLAPSED = "collapsed"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One training of the ladder.

    Attributes:
        trial: its number.
        kl_weight: of its settings.
        kl: final KL in the band's unit; NaN if it diverged.
        unexplained: on validation; NaN if it diverged.
        active_units: of the latents; None if it diverged.
        place: where its KL lies.
    """

    trial: int
    kl_weight: float
    kl: float
    unexplained: float
    active_units: int | None
    place: Place

    @classmethod
    def of(cls, definition: StudyDefinition, trial: TrialRecord) -> Self:
        """The rung that a trial, trained to its end, is."""
        thresholds, latents = definition.thresholds(), definition.model.latent_dim
        kl, measures = thresholds.banded_kl(trial.kl, latents), trial.measures
        low, high = thresholds.kl_band
        if measures is None or not math.isfinite(kl):
            place = Place.DIVERGED
        elif kl > high:
            place = Place.ABOVE
        elif measures.active_units < thresholds.active_units_needed(latents):
            place = Place.COLLAPSED
        else:
            place = Place.IN if kl >= low else Place.BELOW
        return cls(
            trial=trial.number,
            kl_weight=trial.hyperparameters.kl_weight,
            kl=kl,
            unexplained=trial.unexplained,
            active_units=None if measures is None else measures.active_units,
            place=place,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A study's ladder, as far as it has been trained.

    Attributes:
        rungs: trained to their end, in ascending KL weight.
        asked: how many there are in all.
        is_whole: whether none is still to be trained.
        in_band: the ranges of KL weights in which the KL is in the band and enough latents are active.
        sentence: that in words.
    """

    rungs: tuple[Rung, ...]
    asked: int
    is_whole: bool
    in_band: tuple[tuple[float, float], ...]
    sentence: str

    @classmethod
    def of(cls, definition: StudyDefinition, trials: Iterable[TrialRecord], count: int) -> Self | None:
        """The ladder among a study's trials; None where it has none.

        Args:
            definition: of the study, settled.
            trials: at least those of the ladder.
            count: of rungs, as the study began with them.
        """
        settings = rung_settings(definition, count)
        if not settings:
            return None
        wanted, found = frozenset(settings), dict[Hyperparameters, TrialRecord]()
        for trial in trials:
            known = found.get(trial.hyperparameters)
            if trial.hyperparameters in wanted and (known is None or known.state is not RunState.COMPLETE):
                found[trial.hyperparameters] = trial
        ended = [found[one] for one in settings if one in found and found[one].state is not RunState.RUNNING]
        rungs = tuple(Rung.of(definition, trial) for trial in ended if trial.state is RunState.COMPLETE)
        whole, in_band = len(ended) == len(settings), _in_band(definition, rungs)
        sentence = f"Of the ladder of KL weights, {len(ended)} of {len(settings)} trainings are done."
        if whole:
            sentence = _describe(rungs, in_band, as_recipe=_is_recipe(settings[0]))
        return cls(rungs=rungs, asked=len(settings), is_whole=whole, in_band=in_band, sentence=sentence)


def ladder_of(study: StudyRecord) -> Ladder | None:
    """A study's ladder; None where it has none."""
    return Ladder.of(study.definition, study.trials, study.ladder)


def _in_band(definition: StudyDefinition, rungs: Sequence[Rung]) -> tuple[tuple[float, float], ...]:
    band, is_log = definition.thresholds().kl_band, bool(getattr(definition.space.kl_weight, "log", False))
    found = []
    for inside, group in groupby(range(len(rungs)), key=lambda index: rungs[index].place is Place.IN):
        places = list(group)
        if inside:
            first, last = places[0], places[-1]
            below = rungs[first - 1] if first else None
            above = rungs[last + 1] if last + 1 < len(rungs) else None
            found.append((_edge(rungs[first], below, band, is_log), _edge(rungs[last], above, band, is_log)))
    return tuple(found)


def _edge(inside: Rung, outside: Rung | None, band: tuple[float, float], is_log: bool) -> float:
    """The KL weight at which the KL leaves the band between two neighbours, by its logarithm.

    The last measured one where the other has no KL that compares: it collapsed or diverged, or there is none.
    """
    if outside is None or outside.place not in (Place.ABOVE, Place.BELOW):
        return inside.kl_weight
    limit = band[1] if outside.place is Place.ABOVE else band[0]
    share = math.log(limit / inside.kl) / math.log(outside.kl / inside.kl)
    if is_log:
        return float(inside.kl_weight * (outside.kl_weight / inside.kl_weight) ** share)
    return inside.kl_weight + share * (outside.kl_weight - inside.kl_weight)


def _is_recipe(rung: Hyperparameters) -> bool:
    """Tell whether a rung is the recipe but for its KL weight, and for what `[training]` may say."""
    free = {name for name, rule in RULES.items() if rule.in_training or name == "kl_weight"} | set(CHOICES)
    return rung == replace(AFTER, **{name: getattr(rung, name) for name in free})


def _describe(rungs: Sequence[Rung], in_band: Sequence[tuple[float, float]], *, as_recipe: bool) -> str:
    limits = "" if as_recipe else ", as far as the space allows"
    basis = f"({len(rungs)} trainings, all else as the recipe{limits})"
    if not rungs:
        return "No training of the ladder of KL weights came to its end."
    tried = _spread(rungs[0].kl_weight, rungs[-1].kl_weight)
    if all(rung.place is Place.IN for rung in rungs):
        return f"KL is in the band for all KL weights tried, {tried} {basis}."
    if in_band:
        return f"KL is in the band for KL weights {' and '.join(_spread(*ends) for ends in in_band)} {basis}."
    groups = [(place, list(group)) for place, group in groupby(rungs, key=lambda rung: rung.place)]
    told = ", ".join(f"{place} at {_spread(group[0].kl_weight, group[-1].kl_weight)}" for place, group in groups)
    return f"KL is in the band for none of the KL weights tried, {tried} {basis}: {told}."


def _spread(low: float, high: float) -> str:
    ends = [f"{float(f'{value:.2g}'):g}" for value in (low, high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
