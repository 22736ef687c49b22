"""Baselines in words: what a method is and what stands for its settings, and which baseline repeats another."""

from collections.abc import Mapping, Sequence

import numpy as np

from klsearch.reports.readings.candidates import CandidateRuns
from klsearch.reports.wording import number
from klsearch.studies.definitions.sections import Method
from klsearch.studies.record import StudyRecord, TrainingRun
from klsearch.studies.verdict.causes import seed_causes
from klsearch.vae.diagnostics.gates import relative_slope

_MEANINGS: dict[Method, str] = {
    "beta1": "the plain evidence lower bound: β = 1 from the start, nothing clipped, no L2, no dropout",
    "sigma": (
        "a σ-VAE (Rybkin et al. 2021): a Gaussian decoder with the variance that is best for each batch, to which the "
        "loss, in nats, gives β = 2σ²"
    ),
    "control": (
        "a controller (ControlVAE, Shao et al. 2020): in every step it moves β, between 0 and 1, towards a KL of "
        "{target}, the middle of the band"
    ),
}
_CURVES: dict[Method, str] = {
    "sigma": "has no KL weight but that of its variance, 2σ² in nats per nat, and its total is in nats",
    "control": "has the KL weight that its controller set",
}
_WEIGHTS: dict[Method, str] = {"sigma": "fitted", "control": "controlled"}


def rivals_note(study: StudyRecord) -> str:
    """A note on what the baselines with a method are, and on those that repeat another; empty where there are none."""
    target = number(sum(study.definition.thresholds().kl_band) / 2)
    meanings = {method: f"is {meaning.format(target=target)}" for method, meaning in _MEANINGS.items()}
    same = [
        f"Baseline {name} is the same as {other}, which was trained for both."
        for name, other in study.definition.same_baselines().items()
    ]
    return " ".join(filter(None, [_sentences(study, meanings), *same]))


def curves_note(study: StudyRecord) -> str:
    """A note on how to read the curves of baselines with a rule of their own; empty where there are none."""
    return _sentences(study, _CURVES)


def _sentences(study: StudyRecord, words: Mapping[Method, str]) -> str:
    """A sentence for each baseline whose method there are words for."""
    names = study.definition.baseline_names()
    methods = {name: method for name in names if (method := study.definition.baseline_method(name)) in words}
    return " ".join(f"Baseline {name} {words[method]}." for name, method in methods.items() if method is not None)


def why_failed(study: StudyRecord, candidate: CandidateRuns) -> str:
    """The reasons for which seeds of a candidate fail, the most frequent first, and what its controller still does."""
    failing = [run for run in candidate.runs if not run.passed]
    found = seed_causes(failing, study.definition.thresholds())
    told = [f"{one.name}{'' if one.seeds == len(failing) else f' ({one.seeds} of {len(failing)})'}" for one in found]
    if failing and study.definition.baseline_method(candidate.name) == "control":
        told += _still_controlled(study, failing)
    return "; ".join(told)


def _still_controlled(study: StudyRecord, runs: Sequence[TrainingRun]) -> list[str]:
    """A note that a controller has not come to rest, with how fast it still moves its weight at the end."""
    window, limit = study.definition.gates.window, study.definition.thresholds().max_kl_slope
    weights = [run.curves.kl_weight[-window:].astype(float) for run in runs if run.curves is not None]
    # Of weights over their mean, for a slope of KL is not told relative to less than what a KL of nothing is.
    moves = [abs(relative_slope(one / np.mean(one))) for one in weights if one.size and np.mean(one) > 0]
    fast = [move for move in moves if move > limit]
    if not fast:
        return []
    return [f"its controller still moves the weight, by up to {100 * max(fast):.2g} % per epoch"]


def weight_word(study: StudyRecord, baseline: str) -> str | None:
    """The word that stands for the KL weight of a baseline that finds its own; None where it has one."""
    method = study.definition.baseline_method(baseline)
    return None if method is None else _WEIGHTS.get(method)
