"""The numbers in the figures of the models: small records of arrays, computed apart from the drawing."""

import math
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

from klsearch.reports.readings.candidates import CandidateRuns, compared_candidates, confirmed_candidates
from klsearch.reports.readings.units import kl_factor
from klsearch.studies.record import ConfirmationRun, StudyRecord, TrainingRun
from klsearch.vae.diagnostics.measures import Measures

WATCHED = ("validation_kl", "validation_reconstruction", "kl_weight", "total")
"""The four curves that the recipe tells people to watch."""


def curve_labels(unit: str) -> dict[str, str]:
    """The watched curves as axes name them; `unit` is that of the KL."""
    return {
        "validation_kl": f"KL, {unit}",
        "validation_reconstruction": "reconstruction error",
        "kl_weight": "KL weight",
        "total": "training loss",
    }


COLLAPSED_NATS = 0.01
"""A latent that carries less KL than this tells the decoder nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurveBand:
    """One curve of one candidate over its runs.

    Attributes:
        candidate: whose curve it is.
        epochs: 1..T, T the longest run's epochs.
        median: over the runs that are finite at that epoch, shape [T]; NaN where none is.
        low: lower quartile, shape [T].
        high: upper quartile, shape [T].
        runs: number of runs.
        diverged: number of runs that were cut short by a non-finite step.
    """

    candidate: CandidateRuns
    epochs: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    runs: int
    diverged: int


def curve_bands(study: StudyRecord, curve: str) -> tuple[CurveBand, ...]:
    """One curve of every compared candidate, KL in the band's unit; a candidate without curves is left out.

    Args:
        study: the records.
        curve: one of `WATCHED`.
    """
    factor = kl_factor(study) if curve == "validation_kl" else 1.0
    bands = (curve_band(candidate, curve, factor) for candidate in compared_candidates(study))
    return tuple(band for band in bands if band is not None)


def curve_band(candidate: CandidateRuns, curve: str, factor: float) -> CurveBand | None:
    """One curve of one candidate times `factor`; None where it has no curves."""
    curves = [run.curves for run in candidate.runs if run.curves is not None and run.curves.epochs > 0]
    if not curves:
        return None
    longest = max(one.epochs for one in curves)
    stacked = np.full((len(curves), longest), np.nan)  # [run, epoch]
    for row, one in zip(stacked, curves, strict=True):
        row[: one.epochs] = getattr(one, curve)
    low, median, high = quartiles(factor * stacked)
    return CurveBand(
        candidate=candidate,
        epochs=np.arange(1, longest + 1),
        median=median,
        low=low,
        high=high,
        runs=len(curves),
        diverged=sum(one.diverged for one in curves),
    )


def quartiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower quartile, median and upper quartile over axis 0, of the finite values; NaN where there is none.

    >>> [float(value[0]) for value in quartiles(np.array([[1.0], [2.0], [np.nan], [3.0]]))]
    [1.5, 2.0, 2.5]
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    result = np.full((3, *values.shape[1:]), np.nan)
    some = np.isfinite(finite).any(axis=0)
    result[:, some] = np.nanquantile(finite[:, some], (0.25, 0.5, 0.75), axis=0)
    return result[0], result[1], result[2]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeedStrip:
    """Every confirmation seed of one candidate, on the validation split.

    Attributes:
        candidate: whose seeds they are.
        kl: final KL in the band's unit, shape [runs]; NaN where a run diverged.
        unexplained: final `unexplained`, shape [runs].
        passed: whether the run passes every gate, shape [runs].
        seeds: shape [runs].
        targets: where on the page each run stands, shape [runs].
    """

    candidate: CandidateRuns
    kl: np.ndarray
    unexplained: np.ndarray
    passed: np.ndarray
    seeds: tuple[int, ...]
    targets: tuple[str, ...]


def seed_target(run: ConfirmationRun) -> str:
    """The name of a confirmation run's row in the page: that of a trial or a baseline, and the seed."""
    # Percent signs would be read as escapes where a link names it, and quoting leaves no colon.
    return f"run-{quote(run.candidate, safe='').replace('%', ':')}-{run.seed}"


def seed_strips(study: StudyRecord) -> tuple[SeedStrip, ...]:
    """The seeds of everyone that was confirmed; empty before the confirmation."""
    factor = kl_factor(study)
    return tuple(
        SeedStrip(
            candidate=candidate,
            kl=factor * candidate.values(lambda run: run.kl),
            unexplained=candidate.values(lambda run: run.unexplained),
            passed=np.array([run.passed for run in candidate.runs]),
            seeds=tuple(run.seed for run in candidate.runs),
            targets=tuple(seed_target(run) for run in candidate.runs if isinstance(run, ConfirmationRun)),
        )
        for candidate in confirmed_candidates(study)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentProfile:
    """KL per latent of one candidate, sorted from the most to the least informative latent.

    Latents have no identity across seeds, so each run is sorted by itself, and each rank is averaged over the runs.

    Attributes:
        candidate: whose latents they are.
        mean_part: ½μ² by rank, nats, shape [d].
        variance_part: ½(e^lv − 1 − lv) by rank, nats, shape [d]; the only part that clipping acts on.
        runs: number of runs measured.
    """

    candidate: CandidateRuns
    mean_part: np.ndarray
    variance_part: np.ndarray
    runs: int

    @property
    def kl(self) -> np.ndarray:
        """Both parts together, by rank, nats, shape [d]."""
        kl: np.ndarray = self.mean_part + self.variance_part
        return kl

    @property
    def collapsed(self) -> int:
        """Ranks that carry less than 0.01 nats."""
        return int(np.sum(self.kl < COLLAPSED_NATS))


def latent_profiles(study: StudyRecord) -> tuple[LatentProfile, ...]:
    """The latents of every compared candidate, on the validation split; one never measured is left out."""
    profiles = (latent_profile(candidate) for candidate in compared_candidates(study))
    return tuple(profile for profile in profiles if profile is not None)


def latent_profile(candidate: CandidateRuns) -> LatentProfile | None:
    """The latents of one candidate; None where none of its runs was measured."""
    measured = [run.measures for run in candidate.runs if _is_measured(run)]
    sorted_parts = [_sorted_parts(measures) for measures in measured if measures is not None]
    if not sorted_parts:
        return None
    mean_part, variance_part = np.mean(np.stack(sorted_parts), axis=0)
    return LatentProfile(candidate=candidate, mean_part=mean_part, variance_part=variance_part, runs=len(sorted_parts))


def _is_measured(run: TrainingRun) -> bool:
    return run.measures is not None and bool(np.all(np.isfinite(run.measures.kl_per_latent)))


def _sorted_parts(measures: Measures) -> np.ndarray:
    """Mean and variance parts in falling order of their sum, shape [2, d]."""
    order = np.argsort(-measures.kl_per_latent, kind="stable")
    return np.stack([measures.kl_mean_part[order], measures.kl_variance_part[order]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """A loss that went up from `low` in epoch `begins` to `high` in epoch `ends`."""

    low: float
    begins: int
    high: float
    ends: int


# A rise of less than this share of the loss is noise.
_NOTABLE_RISE = 0.01


def annealing_rise(total: np.ndarray, kl_weight: np.ndarray) -> Rise | None:
    """The rise of a loss from its lowest to its highest later value while the KL weight still grows, if there is one.

    Args:
        total: loss per epoch, shape [T].
        kl_weight: KL weight per epoch, shape [T].

    >>> annealing_rise(np.array([3.0, 1.0, 2.0, 1.5]), np.array([0.1, 0.2, 0.3, 0.3]))
    Rise(low=1.0, begins=2, high=2.0, ends=3)
    """
    full = int(np.argmax(kl_weight >= np.nanmax(kl_weight))) if np.any(np.isfinite(kl_weight)) else 0
    annealed = total[: full + 1]
    if len(annealed) < 2 or not np.all(np.isfinite(annealed)):
        return None
    lowest = int(np.argmin(annealed))
    highest = lowest + int(np.argmax(annealed[lowest:]))
    low, high = float(annealed[lowest]), float(annealed[highest])
    if high - low <= _NOTABLE_RISE * abs(low):
        return None
    return Rise(low=low, begins=lowest + 1, high=high, ends=highest + 1)


def mean_mismatch(measures: Measures | None) -> float:
    """Prior mismatch, mean over latents, nats; NaN where nothing was measured."""
    return math.nan if measures is None else float(np.mean(measures.prior_mismatch))
