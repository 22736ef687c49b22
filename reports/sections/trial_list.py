"""All trials: the rows that the page shows, and the file of every one that it carries."""

import base64
import gzip
from urllib.parse import quote

from klsearch.reports.page import Block, Cell, Mark, Prose, Section, Table, Tone, TrialTable
from klsearch.reports.readings.differences import missed_gates
from klsearch.reports.readings.trials import (
    MOST_ROWS,
    TrialOutcome,
    outcomes_of,
    shown_trials,
    trial_outcome,
    trial_targets,
)
from klsearch.reports.tables import TEXT_COLUMNS, as_csv, confirmation_frame, measure, trials_frame
from klsearch.reports.wording import count, first_line, number, setting
from klsearch.studies.record import RunState, StudyRecord, TrialRecord

_MARKS: dict[TrialOutcome, tuple[str, Tone]] = {
    TrialOutcome.PASSED: ("passes", "good"),
    TrialOutcome.MISSED: ("misses", "plain"),
    TrialOutcome.PRUNED: ("pruned", "plain"),
    TrialOutcome.FAILED: ("failed", "bad"),
    TrialOutcome.VOID: ("void", "plain"),
}

_ORDER = (
    ", the best in the search first: those that meet its constraints by their score, then others by how much they miss."
)
_FIRST = ("score", "KL", "unexplained")
_THEN = ("KL, sum", "KL slope", "active", "clipped", "seconds", "epochs")


def trials_section(study: StudyRecord) -> Section:
    """Every trial, shown or to download."""
    return Section(identity="trials", title="All trials", blocks=_blocks(study))


def _blocks(study: StudyRecord) -> tuple[Block, ...]:
    if not study.trials:
        return (Prose(text="No trial has started yet."),)
    shown = shown_trials(study)
    searched = tuple(study.definition.space.sampled())
    table = Table(
        caption="Trials",
        columns=("trial", "outcome", "gates missed", *_FIRST, *searched, *_THEN, "origin"),
        rows=tuple(_row(trial, searched) for trial in shown),
        targets=trial_targets(study, shown),
        words=(1, 2, 3 + len(_FIRST) + len(searched) + len(_THEN)),
    )
    return (
        TrialTable(
            table=table,
            outcomes=tuple(_mark(trial).text for trial in shown),
            shown=_describe_shown(study, shown),
            files=_files(study),
            text_columns=TEXT_COLUMNS,
        ),
    )


def _mark(trial: TrialRecord) -> Mark:
    return Mark("running", "plain") if trial.state is RunState.RUNNING else Mark(*_MARKS[trial_outcome(trial)])


def _row(trial: TrialRecord, searched: tuple[str, ...]) -> tuple[Cell, ...]:
    missed = first_line(trial.error, 60) if trial.error else missed_gates(trial)
    return (
        str(trial.number),
        _mark(trial),
        "all: diverged" if trial.diverged else missed,
        *(number(value) for value in (trial.score, trial.kl, trial.unexplained)),
        *(setting(name, getattr(trial.hyperparameters, name)) for name in searched),
        *(number(value) for value in (trial.kl_sum, trial.kl_slope)),
        *(number(measure(trial.measures, name)) for name in ("active_units", "clip_share")),
        number(trial.seconds),
        str(trial.epochs),
        trial.origin,
    )


def _describe_shown(study: StudyRecord, shown: tuple[TrialRecord, ...]) -> str:
    hidden = len(study.trials) - len(shown)
    if not hidden:
        return f"{'All ' * (len(shown) > 1)}{count(len(shown), 'trial')}{_ORDER}"
    failed = sum(outcomes_of(study).get(trial.number) is TrialOutcome.FAILED for trial in shown)
    return (
        f"{len(shown)} of {count(len(study.trials), 'trial')}: the {len(shown) - failed} best and "
        f"{failed} that failed or diverged. The other {hidden:,} are in the files."
    )


def _files(study: StudyRecord) -> tuple[tuple[str, str], ...]:
    files = [_file("trials.csv", as_csv(trials_frame(study)), compressed=len(study.trials) > MOST_ROWS)]
    if study.confirmation:
        files.append(_file("confirmation.csv", as_csv(confirmation_frame(study)), compressed=False))
    return tuple(files)


def _file(name: str, text: str, *, compressed: bool) -> tuple[str, str]:
    """A file's name and its data URL, which downloads without JavaScript too; long ones are compressed."""
    data = text.encode()
    if not compressed:
        return name, f"data:text/csv;charset=utf-8,{quote(data, safe=',;:=+()/@')}"
    return f"{name}.gz", f"data:application/gzip;base64,{base64.b64encode(gzip.compress(data, mtime=0)).decode()}"
