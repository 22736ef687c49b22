"""What the search minimises, and by how much a trial violates its constraints."""

import math

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, Gate
from klsearch.vae.diagnostics.measures import MEASURES_VERSION

_SCORE_VERSION = 1  # raised when `score` changes
_WORST_UNEXPLAINED = 2.0


def scoring_of(definition: StudyDefinition) -> dict[str, int]:
    """What two trials of a study must share for their scores to be comparable."""
    found = {"measures": MEASURES_VERSION, "score": _SCORE_VERSION}
    if definition.data.missing == "mask" and definition.objective().likelihood.deviance.is_fitted:
        found["spread"] = 1  # of what is known; until 0.2, of rows whose gaps were filled
    return found


def score(*, unexplained: float, kl: float, band: tuple[float, float], penalty: float) -> float:
    """Reconstruction first, with a penalty for lying outside the band; the smaller the better.

    min(unexplained, 2) + penalty · v / (1 + v), with v = max(0, lo − KL, KL − hi) / (hi − lo). A trial that diverged
    (NaN in either number) scores the worst there is, 2 + penalty: a result the search learns from.

    Args:
        unexplained: deviance over that of predicting the training mean.
        kl: final KL in the band's unit.
        band: lowest and highest acceptable KL.
        penalty: weight of lying outside the band.

    >>> score(unexplained=0.25, kl=10.0, band=(0.0, 5.0), penalty=1.0)
    0.75
    >>> score(unexplained=float("nan"), kl=1.0, band=(0.0, 5.0), penalty=1.0)
    3.0
    """
    if not (math.isfinite(unexplained) and math.isfinite(kl)):
        return _WORST_UNEXPLAINED + penalty
    low, high = band
    outside = max(0.0, low - kl, kl - high) / (high - low)
    return min(unexplained, _WORST_UNEXPLAINED) + penalty * outside / (1 + outside)


def constraints(gates: tuple[Gate, ...]) -> dict[str, float]:
    """Optuna's constraint values by gate: at most 0 where the gate passes, in units of its threshold beyond."""
    return {gate.name: gate.violation for gate in gates if gate.name in CONSTRAINT_GATES}
