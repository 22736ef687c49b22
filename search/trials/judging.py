"""Judging trainings by a study's definition: scores, violated constraints, and whether more search pays."""

import math
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from klsearch.search.storage.process import Owner
from klsearch.search.storage.rows import Result, trial_label
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import EndedTraining
from klsearch.search.trials.score import constraints, score
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ranking import Rank
from klsearch.vae.diagnostics.gates import final_kl, judge


def finish(
    rows: StudyStorage,
    definition: StudyDefinition,
    number: int,
    label: str,
    result: Result,
    *,
    owner: Owner,
    pruned: bool = False,
) -> EndedTraining | None:
    """Judge a training on the validation split, score it and store it; a diverged one scores the worst there is.

    None if it was not stored: its row is closed, or another worker's.
    """
    ended, violations = judge_training(definition, label, result)
    stored = rows.finish_row(number, result, owner=owner, score=ended.rank.score, constraints=violations, pruned=pruned)
    if not stored:
        return None
    return ended_early(ended) if pruned else ended


def ended_early(ended: EndedTraining) -> EndedTraining:
    """The same training, ended early: behind all that were not."""
    return replace(ended, rank=ended.rank._replace(ended_early=True))


def judge_training(definition: StudyDefinition, label: str, result: Result) -> tuple[EndedTraining, dict[str, float]]:
    """Judge a training on the validation split: what it came to, and by how much it violates each constraint."""
    study, thresholds, measures = definition.study, definition.thresholds(), result.measures.get("validation")
    unexplained = kl = math.nan
    if measures is not None:
        unexplained = measures.unexplained
        kl = thresholds.banded_kl(final_kl(result.curves, thresholds.window), measures.latent_dim)
    violations = constraints(judge(result.curves, measures, thresholds))
    value = score(unexplained=unexplained, kl=kl, band=thresholds.kl_band, penalty=study.penalty)
    rank = Rank.of(complete=True, violations=violations, score=value)
    return EndedTraining(label=label, kl=kl, rank=rank), violations


def best_so_far(definition: StudyDefinition, study: StudyStorage) -> EndedTraining | None:
    """The study's best trial, a feasible one if there is any; None before one is complete."""
    best = min((trial for trial in study.trials() if trial.state is TrialState.COMPLETE), key=_rank, default=None)
    if best is None:
        return None
    result = study.row(best.number).result
    return None if result is None else judge_training(definition, trial_label(best.number), result)[0]


def _rank(trial: FrozenTrial) -> Rank:
    return Rank.of(
        complete=trial.state is TrialState.COMPLETE,
        violations=trial.constraints or {},
        score=math.nan if trial.value is None else trial.value,
        number=trial.number,
    )
