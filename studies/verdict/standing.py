"""The outcome of a study in numbers, from which its sentence and its advice follow."""

from dataclasses import dataclass

from klsearch.studies.record import TrialRecord
from klsearch.vae.diagnostics.gates import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a study stands.

    Attributes:
        verdict: the word.
        best: the confirmed winner, else the best trial so far; None without a finished trial.
        passed: confirmation seeds of the winner that pass all gates.
        seeds: confirmation seeds of the winner.
        caveats: what keeps a confirmed winner from being called stable without reserve.
        edges: searched hyperparameters that keep the winner on an edge of their range, with "low" or "high"; see
            `studies.summary.pressed_edges`.
    """

    verdict: Verdict
    best: TrialRecord | None
    passed: int
    seeds: int
    caveats: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
