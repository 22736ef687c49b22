"""More useful downstream: what a linear model reads off the winner's latents, and off the baselines'."""

import math
from collections.abc import Sequence

import numpy as np

from klsearch.reports.page import Cell, Prose, Section, Table
from klsearch.reports.readings.candidates import candidate_label
from klsearch.reports.wording import NOTHING, count, listed, number, spread, within
from klsearch.studies.record import ConfirmationRun, StudyRecord
from klsearch.studies.verdict.candidates import baseline_names, runs_of
from klsearch.studies.verdict.differences import Difference, paired_difference
from klsearch.vae.evaluation.probe import Probe, ProbeMeasure

_MODELS: dict[ProbeMeasure, str] = {
    "accuracy": "a logistic regression finds a row's class from its latents",
    "r2": "a ridge regression explains a row's label from its latents",
}
_SCORES: dict[ProbeMeasure, str] = {"accuracy": "accuracy", "r2": "R²"}


def usefulness_sections(study: StudyRecord) -> tuple[Section, ...]:
    """The linear probe on the latents of winner and baselines; no section where there is none."""
    probes = [run.probe for run in runs_of(study, "winner") if run.probe is not None]
    if not probes:
        return ()
    blocks = (Prose(text=_describe_probe(study, probes)), probe_table(study, probes[0].measure))
    return (Section(identity="downstream", title="More useful downstream?", blocks=blocks),)


def probe_table(study: StudyRecord, measure: ProbeMeasure) -> Table:
    """The probe's score of every candidate on the test split, and the winner's less each baseline's."""
    of_winner = runs_of(study, "winner")
    winner: tuple[Cell, ...] = (candidate_label("winner", of_winner), *_scores(of_winner), "", "")
    rows = (winner, *(_row(study, name) for name in baseline_names(study)))
    score = _SCORES[measure]
    return Table(
        caption=f"Linear probe on the test split: {score}",
        columns=("candidate", f"median {score}", "lowest to highest", "winner less it", "95 % interval"),
        rows=rows,
    )


def _row(study: StudyRecord, baseline: str) -> tuple[Cell, ...]:
    difference = _difference(study, baseline)
    mean, interval = within(difference.mean, difference.low, difference.high)
    runs = runs_of(study, baseline)
    return (candidate_label(baseline, runs), *_scores(runs), mean, interval if difference.pairs > 1 else NOTHING)


def _scores(runs: Sequence[ConfirmationRun]) -> tuple[str, str]:
    scores = [run.probe.test for run in runs if run.probe is not None]
    return (number(float(np.median(scores))), spread(min(scores), max(scores))) if scores else (NOTHING, NOTHING)


def _difference(study: StudyRecord, baseline: str) -> Difference:
    winner, other = (
        {run.seed: run.probe.test if run.probe is not None else math.nan for run in runs_of(study, who)}
        for who in ("winner", baseline)
    )
    return paired_difference(winner, other)


def _compare_scores(difference: Difference) -> str:
    """Compare the winner's score with a baseline's; never to the good of the one that diverged on more seeds."""
    (winner, other) = difference.left_out
    if difference.low > 0 and winner <= other:
        return "higher"
    return "lower" if difference.high < 0 and other <= winner else "not distinguishable"


def _describe_probe(study: StudyRecord, probes: Sequence[Probe]) -> str:
    """Describe whether the winner's latents serve better than the baselines', and what the probe is."""
    measure, names = probes[0].measure, baseline_names(study)
    found = {name: _compare_scores(_difference(study, name)) for name in names}
    lost = sum(run.probe is None for run in runs_of(study, "winner"))
    left_out = f" ({lost} more diverged and are left out)" if lost else ""
    words = {
        "higher": "more useful than those of",
        "lower": "less useful than those of",
        "not distinguishable": "neither shown to be more nor less useful than those of",
    }
    told = "; ".join(
        f"{text} {listed([name for name in names if found[name] == word])}"
        for word, text in words.items()
        if word in found.values()
    )
    answer = f"The winner's latents are {told}. " if told else ""
    chance = number(probes[0].chance)
    blind = f"always naming the commonest class scores {chance}" if measure == "accuracy" else f"the mean {chance}"
    return (
        f"{answer}Measured by how well {_MODELS[measure]} (the encoder's mean): fitted on the training split, scored "
        f"on the test split, over {count(len(probes), 'fresh seed')} of the winner{left_out}, and compared over those "
        f"that both have. Without the latents, {blind}."
    )
