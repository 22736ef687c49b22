"""What two studies say beside each other: where they differ, and whether their winners do."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from klsearch.studies.record import ConfirmationRun, StudyRecord
from klsearch.studies.verdict.candidates import on_test, runs_of
from klsearch.studies.verdict.differences import Difference, paired_difference, unpaired_difference
from klsearch.vae.diagnostics.measures import Measures

COMPARED: dict[str, Callable[[Measures], float]] = {
    "kl": lambda measures: measures.kl,
    "unexplained": lambda measures: measures.unexplained,
    "active_units": lambda measures: measures.active_units,
    "prior_mismatch": lambda measures: float(np.mean(measures.prior_mismatch)),
}
"""What the winners are compared in on the test split; KL and prior mismatch in nats per latent."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two studies side by side, first less second.

    Attributes:
        studies: their names; a letter is added to two of the same name.
        differing: where definitions, data, versions and machines differ: both values by table and key, None where one
            side has none. The studies' names are left out.
        obstacle: why the winners' measures are not to be compared; empty where they are.
        unlike: why one seed is not the same noise in both; empty where it is.
        paired: the winners' differences on the test split, paired by seed, by the names of `COMPARED`; empty where
            there is an obstacle, or seeds do not pair.
        unpaired: the same between the means over each side's own seeds, where seeds do not pair; else empty.
        better: the study whose winner surely reconstructs better: its `unexplained` on the test split is lower, the
            interval of the difference leaves 0 out, and it did not diverge on more of the seeds; None where that cannot
            be told.
    """

    studies: tuple[str, str]
    differing: Mapping[Key, tuple[Any, Any]]
    obstacle: str
    unlike: str
    paired: Mapping[str, Difference]
    unpaired: Mapping[str, Difference]
    better: str | None

    @property
    def found(self) -> Mapping[str, Difference]:
        """The differences, paired or not."""
        return self.paired or self.unpaired


def compare_studies(first: StudyRecord, second: StudyRecord) -> Comparison:
    """The comparison of two studies from their records."""
    names = (f"{first.name} (A)", f"{second.name} (B)") if first.name == second.name else (first.name, second.name)
    winners = (runs_of(first, "winner"), runs_of(second, "winner"))
    unlike = _unlike(first, second)
    difference = unpaired_difference if unlike else paired_difference
    found = {name: difference(*(on_test(runs, read) for runs in winners)) for name, read in COMPARED.items()}
    obstacle = _obstacle((first, second), names, winners, found, paired=not unlike)
    return Comparison(
        studies=names,
        differing=_differing(_facts(first), _facts(second)),
        obstacle=obstacle,
        unlike=unlike,
        paired={} if obstacle or unlike else found,
        unpaired=found if unlike and not obstacle else {},
        better=None if obstacle else _better(names, found["unexplained"]),
    )


_Runs = tuple[ConfirmationRun, ...]


def _unlike(first: StudyRecord, second: StudyRecord) -> str:
    """Which sizes differ that the noise of a training is drawn for: a row of noise for each row of a batch."""
    sizes = {
        "latent sizes": tuple(study.definition.model.latent_dim for study in (first, second)),
        "batch sizes": tuple(study.definition.training.batch_size for study in (first, second)),
    }
    return " and ".join(f"{name} differ ({one} and {other})" for name, (one, other) in sizes.items() if one != other)


def _obstacle(
    studies: tuple[StudyRecord, StudyRecord],
    names: tuple[str, str],
    winners: tuple[_Runs, _Runs],
    found: Mapping[str, Difference],
    *,
    paired: bool,
) -> str:
    data = [study.data for study in studies]
    if None in data or len({facts.fingerprint for facts in data if facts is not None}) > 1:
        return "The studies hold out other rows or scale them otherwise, so their measures are not comparable."
    deviances = [study.definition.objective().likelihood.deviance.words for study in studies]
    if deviances[0] != deviances[1]:
        return (
            f"The studies' likelihoods measure `unexplained` otherwise (by {deviances[0]} and by {deviances[1]}), so "
            "it is not comparable; the reports show KL and active latents of both."
        )
    masked = all(study.definition.data.missing == "mask" for study in studies)
    measured = ("measures", "spread") if masked else ("measures",)
    if len({tuple(study.scoring.get(name) for name in measured) for study in studies}) > 1:
        return (
            "One of the studies was measured by an earlier klsearch, which did it otherwise, so their measures are not "
            "comparable; run it anew."
        )
    if not all(winners):
        waiting = " and ".join(name for name, runs in zip(names, winners, strict=True) if not runs)
        return f"No winner of {waiting} is confirmed yet, so there are no fresh seeds to compare."
    left_out = found["kl"].left_out_words(*names)
    if left_out and math.isinf(found["kl"].high):
        return f"Fewer than two seeds remain to compare the winners on; {left_out}."
    if not paired and math.isinf(found["kl"].high):
        return "Either winner needs at least two seeds that were scored on the test split."
    if paired and found["kl"].pairs < 2:
        return "The winners were not confirmed on at least two seeds in common."
    return ""


def _better(names: tuple[str, str], unexplained: Difference) -> str | None:
    if unexplained.first_less:
        return names[0]
    return names[1] if unexplained.second_less else None


def _differing(first: Mapping[Key, Any], second: Mapping[Key, Any]) -> dict[Key, tuple[Any, Any]]:
    both = {key: (first.get(key), second.get(key)) for key in dict.fromkeys([*first, *second])}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def _facts(study: StudyRecord) -> dict[Key, Any]:
    """All that was asked and where it ran, by table and key; the name is left out."""
    asked = study.definition.model_dump()
    asked["study"].pop("name")
    ran = {"trained together": study.slots, **study.provenance}
    if study.data is not None:
        ran |= {"data fingerprint": study.data.fingerprint, "scaling": study.data.scaling}
    return {**_flat(asked), **{("as run", name): value for name, value in ran.items()}}


def _flat(values: Mapping[str, Any], table: str = "") -> dict[Key, Any]:
    """Nested tables as values by table and key; what is None is left out.

    >>> _flat({"space": {"l2": {"low": 1e-6, "log": True}, "clip_low": None}})
    {('space.l2', 'low'): 1e-06, ('space.l2', 'log'): True}
    """
    found: dict[Key, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{table}.{name}".lstrip("."))
        elif value is not None:
            found[table, name] = value
    return found
