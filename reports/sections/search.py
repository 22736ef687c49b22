"""The sections on what mattered, and on how the search went."""

import math
from collections import Counter

import numpy as np

from klsearch.reports.figures.legends import mark_legend, outcome_legend
from klsearch.reports.figures.search_exhibits import (
    importance_exhibit,
    pass_exhibits,
    progress_exhibit,
    rate_distortion_exhibit,
    slice_exhibits,
)
from klsearch.reports.page import Block, Facts, Gallery, Heading, Prose, Section, Table
from klsearch.reports.readings.response_words import (
    describe_method,
    explain_too_few,
    format_interval,
    format_signed,
    kl_cell,
)
from klsearch.reports.readings.responses import Responses
from klsearch.reports.readings.trials import ScoreHistory, ended_trials, score_history
from klsearch.reports.readings.units import kl_unit
from klsearch.reports.wording import count, duration, number, share
from klsearch.studies.record import IMPORTANCE_TRIALS, RunState, StudyRecord
from klsearch.studies.summary import Summary, edges

_NOTHING_YET = Prose(text="No trial has finished yet.")


def importance_section(study: StudyRecord, summary: Summary, measured: Responses) -> Section:
    """The hyperparameters that decide about passing and the score, and which way; `measured` is from `responses`."""
    blocks = _importance_blocks(study, summary, measured) if study.finished else (_NOTHING_YET,)
    return Section(identity="importance", title="What mattered?", blocks=blocks)


def _explain_no_importance(study: StudyRecord) -> str:
    return (
        f"Importance is computed when a run ends, from {IMPORTANCE_TRIALS} complete trials on; the study has "
        f"{count(len(study.complete), 'complete trial')}."
    )


def _importance_blocks(study: StudyRecord, summary: Summary, measured: Responses) -> tuple[Block, ...]:
    ended = ended_trials(study)
    legend = outcome_legend(ended.outcomes)
    shares = importance_exhibit(study)
    overview = tuple(one for one in (rate_distortion_exhibit(study, ended), shares) if one is not None)
    no_shares = () if shares is not None else (Prose(text=_explain_no_importance(study)),)
    return (
        *((Gallery(exhibits=overview, legend=(*mark_legend(study), *legend)),) if overview else ()),
        *no_shares,
        *_response_blocks(study, measured),
        Heading(text="Where trials pass every gate"),
        Prose(
            text=f"Share of {count(len(study.complete), 'complete trial')} that passes in each fifth of a range, with "
            f"Wilson's 95 % interval; the number of trials stands above. The search looks more often where it found "
            f"good scores, so the shares are not those of an experiment."
        ),
        Gallery(exhibits=pass_exhibits(study)),
        Heading(text="Score over each range"),
        Prose(
            text="Trials that failed or diverged are shown too: at the score they were given, or on the upper edge. "
            "The line marks the winner's value."
        ),
        Gallery(exhibits=slice_exhibits(study, summary, ended), legend=legend),
    )


def _response_blocks(study: StudyRecord, measured: Responses) -> tuple[Block, ...]:
    heading = Heading(text="Which way each one moves the KL")
    if not measured.found:
        return heading, Prose(text=explain_too_few(measured))
    return heading, responses_table(study, measured), Prose(text=describe_method(measured))


def responses_table(study: StudyRecord, measured: Responses) -> Table:
    """The change of the KL and `unexplained` with one more step of each hyperparameter."""
    unit = "factor" if measured.kl_is_log else kl_unit(study)
    return Table(
        caption="Change with one more step, the other hyperparameters held",
        columns=("hyperparameter", f"KL, {unit} (95 %)", "unexplained (95 %)", "reading"),
        rows=tuple(
            (
                f"{one.name} per {one.step}",
                kl_cell(measured, one.kl),
                f"{format_signed(one.unexplained.change)} ({format_interval(one.unexplained)})",
                f"KL {_MOVES[one.kl.direction]}, unexplained {_MOVES[one.unexplained.direction]}",
            )
            for one in measured.found.values()
        ),
        words=(0, 3),
    )


_MOVES = {1: "rises", -1: "falls", 0: "unclear"}


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
    names = tuple(study.definition.space.searched())
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
