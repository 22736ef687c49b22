"""The rules of a confirmation: who is trained on which seeds, who wins, and when a baseline leaves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from klsearch.search.seeds import confirmation_seed, race_seeds
from klsearch.search.storage.rows import Row
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.procedure import Procedure
from klsearch.studies.verdict.differences import paired_difference
from klsearch.vae.diagnostics.gates import final_kl, judge

# A baseline that passes with a probability of a half fails that often in a row with one of an eighth.
_FAILURES_TO_LEAVE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The seeds of one study's confirmation.

    Attributes:
        race: seeds on which the leading trials are compared, and the winner is chosen.
        proof: seeds on which the winner is proven.
        opening: the first of them, on which every baseline is trained; one that fails on all of these leaves.
    """

    race: tuple[int, ...]
    proof: tuple[int, ...]
    opening: tuple[int, ...]

    @classmethod
    def of(cls, definition: StudyDefinition, procedure: Procedure) -> Self:
        """The seeds by the rules of a study."""
        study, count = definition.study.seed, definition.confirmation.seeds
        proof = tuple(confirmation_seed(study, index) for index in range(count))
        if procedure is Procedure.OWN_SEEDS:
            return cls(race=proof, proof=proof, opening=proof)
        return cls(race=race_seeds(study), proof=proof, opening=proof[:_FAILURES_TO_LEAVE])

    def stays(self, definition: StudyDefinition, rows: Sequence[Row]) -> bool:
        """Tell whether a baseline goes on after the opening, from its rows."""
        opened = [row for row in rows if row.run.seed in self.opening]
        return len(opened) < _FAILURES_TO_LEAVE or any(_passes(definition, row) for row in opened)


def choose_winner(definition: StudyDefinition, rows: Sequence[Row], labels: Sequence[str]) -> str:
    """The label of the leading trial that wins, from the rows of its trainings on validation alone.

    Most seeds passing all gates, then the lowest mean score. Among those whose score does not differ from the lowest
    beyond seed noise (the 95 % interval of the paired difference holds 0), the one whose KL stays farthest from the
    band's edges.
    """
    standings = {label: _standing(definition, [row for row in rows if row.run.label == label]) for label in labels}
    most = max(standing.passed for standing in standings.values())
    leading = {label: standing for label, standing in standings.items() if standing.passed == most}
    first = min(leading.values(), key=lambda standing: standing.mean_score)
    level = {label: standing for label, standing in leading.items() if _is_level(standing, first)}
    return max(level, key=lambda label: level[label].margin)


@dataclass(frozen=True, slots=True)
class _Standing:
    """The standing of a leading trial: seeds passed, score by seed, KL's mean distance from the band's edges."""

    passed: int
    scores: dict[int, float]
    margin: float

    @property
    def mean_score(self) -> float:
        return float(np.mean(list(self.scores.values())))


def _standing(definition: StudyDefinition, rows: Sequence[Row]) -> _Standing:
    thresholds = definition.thresholds()
    low, high = thresholds.kl_band
    passed, margins = 0, []
    for row in rows:
        if row.result is None or "validation" not in row.result.measures:
            margins.append(-math.inf)
            continue
        measures = row.result.measures["validation"]
        kl = thresholds.banded_kl(final_kl(row.result.curves, thresholds.window), measures.latent_dim)
        passed += _passes(definition, row)
        margins.append(min(kl - low, high - kl))
    return _Standing(passed, {row.run.seed: row.score for row in rows}, float(np.mean(margins)))


def _is_level(standing: _Standing, first: _Standing) -> bool:
    if standing is first:
        return True
    return paired_difference(standing.scores, first.scores).low <= 0


def _passes(definition: StudyDefinition, row: Row) -> bool:
    """Tell whether a training passes every gate on the validation split."""
    if row.result is None:
        return False
    gates = judge(row.result.curves, row.result.measures.get("validation"), definition.thresholds())
    return all(gate.passed for gate in gates)
