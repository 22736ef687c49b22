"""The sections on what mattered, and on how the search went."""

import math
from collections import Counter

import numpy as np

from klsearch.reports.figures.legends import mark_legend, outcome_legend
from klsearch.reports.figures.search_exhibits import (
    effect_exhibits,
    progress_exhibit,
    rate_distortion_exhibit,
    slice_exhibits,
    surface_exhibit,
)
from klsearch.reports.page import Block, Facts, Gallery, Heading, Prose, Section, Table
from klsearch.reports.readings.effects import answer_words
from klsearch.reports.readings.trials import EndedTrials, ScoreHistory, ended_trials, score_history
from klsearch.reports.wording import count, duration, number, share
from klsearch.studies.definitions.space import Options
from klsearch.studies.record import RunState, StudyRecord
from klsearch.studies.response import response_of
from klsearch.studies.summary import Summary, edges
from klsearch.vae.diagnostics.gates import MIN_FINISHED_TRIALS

_NOTHING_YET = Prose(text="No trial has finished yet.")


def importance_section(study: StudyRecord, summary: Summary) -> Section:
    """What each hyperparameter does to `unexplained` and the KL, and every trial behind it."""
    blocks = _importance_blocks(study, summary) if study.finished else (_NOTHING_YET,)
    return Section(identity="importance", title="What mattered?", blocks=blocks)


def _importance_blocks(study: StudyRecord, summary: Summary) -> tuple[Block, ...]:
    ended = ended_trials(study)
    legend = outcome_legend(ended.outcomes)
    overview = rate_distortion_exhibit(study, ended)
    return (
        *((Gallery(exhibits=(overview,), legend=(*mark_legend(study), *legend)),) if overview is not None else ()),
        *_effect_blocks(study, summary, ended),
        Heading(text="Score over each range"),
        Prose(
            text="Trials that failed or diverged are shown too: at the score they were given, or on the upper edge. "
            "The line marks the winner's value."
        ),
        Gallery(exhibits=slice_exhibits(study, summary, ended), legend=legend),
        *(_choice_table(name, options, ended) for name, options in study.definition.space.choices().items()),
    )


def _choice_table(name: str, options: Options, ended: EndedTrials) -> Table:
    """The scores of the trials that have each name of a choice; those that were stopped early do not compare."""
    rows = []
    for option in options:
        of = [trial for trial in ended.trials if getattr(trial.hyperparameters, name) == option]
        scores = [trial.score for trial in of if trial.state is RunState.COMPLETE and math.isfinite(trial.score)]
        told = (number(min(scores)), number(float(np.median(scores)))) if scores else (number(None),) * 2
        rows.append((option, str(len(of)), *told))
    columns = (name, "trials", "best score", "median score")
    return Table(caption=f"Score by {name}", columns=columns, rows=tuple(rows))


def _effect_blocks(study: StudyRecord, summary: Summary, ended: EndedTrials) -> tuple[Block, ...]:
    heading = Heading(text="What each hyperparameter changes")
    model = response_of(study)
    if model is None or summary.best is None:
        trained = sum(not trial.diverged for trial in study.complete)
        return heading, Prose(
            text=f"Telling an effect from chance takes a model of {MIN_FINISHED_TRIALS} trials that were trained to "
            f"their end without diverging; the study has {trained}."
        )
    best = summary.best
    values = {name: getattr(best.hyperparameters, name) for name in model.ranges}
    effects, surface = model.effects(values), model.surface(values)
    together = () if surface is None else (surface_exhibit(study, best, surface, ended),)
    return (
        heading,
        Prose(
            text=f"{answer_words(effects)} Each over its whole range, with the others as trial {best.number} has them: "
            f"by how much the largest expected value exceeds the least."
        ),
        Gallery(exhibits=effect_exhibits(effects)),
        Prose(
            text=f"From a Gaussian process through {count(len(model.trials), 'trial')}, which sets chance apart from "
            f"effect. Its intervals assume that the length scales fitted to them are right. What is far from all "
            f"trials is extrapolated."
        ),
        *(Gallery(exhibits=(one,), legend=outcome_legend(ended.outcomes)) for one in together),
    )


def health_section(study: StudyRecord) -> Section:
    """The signs of whether the search worked as a search."""
    blocks = _health_blocks(study) if study.finished else (_NOTHING_YET,)
    return Section(identity="health", title="Was the search healthy?", blocks=(*blocks, *_running_tables(study)))


def _health_blocks(study: StudyRecord) -> tuple[Block, ...]:
    search = score_history(study)
    figure = Gallery(exhibits=(progress_exhibit(search),), legend=outcome_legend(search.points.outcomes))
    return Facts(pairs=_health_facts(study, search)), figure


def _health_facts(study: StudyRecord, search: ScoreHistory) -> tuple[tuple[str, str], ...]:
    complete = study.complete
    feasible = sum(trial.feasible for trial in complete)
    seconds = np.array([trial.seconds for trial in study.counted if math.isfinite(trial.seconds)])
    if search.last_improvement is None:
        improvement = "none: no trial is feasible"
    else:
        improvement = f"trial {search.last_improvement}; {count(search.since, 'trial')} finished after it"
    per_trial = duration(float(np.median(seconds))) if seconds.size else number(None)
    asked = study.definition.study
    return (
        ("best feasible score", number(float(search.best[-1]))),
        ("last improvement", improvement),
        (
            "feasible",
            f"{feasible} of {count(len(complete), 'complete trial')} ({share(feasible / max(1, len(complete)))})",
        ),
        ("settings tried more than once", _count_repeated(study)),
        ("tried at an edge of a range", _count_at_edges(study)),
        ("time per trial", f"{per_trial}, median; {duration(float(seconds.sum()))} of training in all"),
        ("sampler", f"{asked.sampler}, seed {asked.seed}"),
        ("trained together", f"{count(study.slots, 'trial')} at a time"),
    )


def _count_repeated(study: StudyRecord) -> str:
    """Count the trials that repeat the searched settings of an earlier one: they teach the search nothing but noise."""
    names = tuple(study.definition.space.sampled())
    tried = {tuple(getattr(trial.hyperparameters, name) for name in names) for trial in study.finished}
    return f"{len(study.finished) - len(tried)} of {count(len(study.finished), 'trial')}"


def _count_at_edges(study: StudyRecord) -> str:
    """Count the trials on each edge that could be widened: many say that the search wants to leave its range."""
    found = Counter(edge for trial in study.finished for edge in edges(study, trial))
    told = "; ".join(f"{n} on the {side} edge of `{name}`" for (name, side), n in found.most_common())
    return told or "none"


def _running_tables(study: StudyRecord) -> tuple[Table, ...]:
    """The latest epoch of the trials that were running when the records were read."""
    running = [trial for trial in study.trials if trial.state is RunState.RUNNING]
    if not running:
        return ()
    watched = ("kl", "reconstruction", "kl_weight", "total")
    rows = tuple(
        (
            str(trial.number),
            f"{number(trial.progress.get('epoch', 0))} of {study.definition.training.epochs}",
            *(number(trial.progress.get(name)) for name in watched),
        )
        for trial in running
    )
    columns = ("trial", "epoch", "KL, nats per latent", "reconstruction", "KL weight", "total")
    return (Table(caption="Trials under way, training values of the latest epoch", columns=columns, rows=rows),)
