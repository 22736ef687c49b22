"""Commands that read a study: status, best, trials, report, compare. Each parses, makes one call and prints.

Heavy libraries load inside the commands.
"""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from klsearch.reports.visible import as_line, as_lines
from klsearch.search.commands.options import (
    check_page,
    json_option,
    run_argument,
    storage_options,
)
from klsearch.search.terminal.printing import echo, show, show_in_place, table_width
from klsearch.studies.errors import UsageError

if TYPE_CHECKING:
    from klsearch.search.storage.place import Place
    from klsearch.studies.record import StudyRecord, TrialRecord

_WATCH_SECONDS = 2.0
_SORTS = ("number", "best", "score", "kl", "unexplained", "seconds")


@click.command(short_help="Where a study stands.")
@run_argument
@storage_options
@click.option("--watch", is_flag=True, help="Again every two seconds, until no process works on it.")
@json_option
def status(run: str | None, storage: str | None, study: str | None, watch: bool, as_json: bool) -> None:
    """Show where the study of RUN stands, with the latest values of its leading running trials."""
    from klsearch.search.commands.documents import as_text, status_document
    from klsearch.search.commands.text import status_text
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import look_at_study, watch_study

    if watch and as_json:
        raise UsageError("give --watch or --json, not both: --json prints one document.")
    place = known_place(run, storage=storage, study=study)
    if watch:
        show_in_place(status_text(record, activity) for record, activity in watch_study(place, seconds=_WATCH_SECONDS))
    elif as_json:
        echo(as_text(status_document(*look_at_study(place))))
    else:
        show(status_text(*look_at_study(place)))


@click.command(short_help="The winner.")
@run_argument
@storage_options
@json_option
def best(run: str | None, storage: str | None, study: str | None, as_json: bool) -> None:
    """The winner of RUN, or the best trial so far, with its verdict and settings."""
    from klsearch.search.commands.documents import as_text, best_document
    from klsearch.search.commands.text import best_text
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import load_study

    record = load_study(known_place(run, storage=storage, study=study))
    if as_json:
        echo(as_text(best_document(record)))
    else:
        show(best_text(record, width=table_width()))


@click.command(short_help="All trials.")
@run_argument
@storage_options
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    default="number",
    show_default=True,
    help="Ascending; best: the best first.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than the first N.")
@click.option("--feasible", is_flag=True, help="Only those that meet every constraint gate.")
def trials(
    run: str | None, storage: str | None, study: str | None, as_json: bool, as_csv: bool,
    sort: str, limit: int | None, feasible: bool,
) -> None:  # fmt: skip
    """The trials of RUN: all, or those that are asked for."""
    from klsearch.search.commands.documents import as_text, trials_document
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import load_study

    if as_json and as_csv:
        raise UsageError("give --json or --csv, not both.")
    record = load_study(known_place(run, storage=storage, study=study))
    chosen = _choose_trials(record, sort=sort, limit=limit, feasible=feasible)
    if as_json:
        echo(as_text(trials_document(record, chosen)))
    elif as_csv:
        from klsearch.reports import tables

        echo(tables.as_csv(tables.trials_frame(replace(record, trials=chosen))), nl=False)
    else:
        from klsearch.search.commands.text import trials_text

        show(trials_text(record, chosen, width=table_width()))


def _choose_trials(record: "StudyRecord", *, sort: str, limit: int | None, feasible: bool) -> "tuple[TrialRecord, ...]":
    """Trials in an order; where they have no such value they come last."""
    chosen = [trial for trial in record.trials if trial.feasible or not feasible]
    if sort == "best":
        chosen.sort(key=lambda trial: trial.rank)
    else:
        chosen.sort(key=lambda trial: (math.isnan(getattr(trial, sort)), getattr(trial, sort)))
    return tuple(chosen[:limit])


@click.command(short_help="Write the HTML report again.")
@run_argument
@storage_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: report.html in RUN.")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@click.option("--no-samples", is_flag=True, help="Leave out pictures of the data and names of its columns.")
@click.option("--with-paths", is_flag=True, help="Tell where the storage is, and the folders of absolute paths.")
def report(
    run: str | None,
    storage: str | None,
    study: str | None,
    output: Path | None,
    open_it: bool,
    no_samples: bool,
    with_paths: bool,
) -> None:
    """Write the HTML report of RUN again, from its storage alone."""
    from klsearch.reports.paths import without_samples
    from klsearch.reports.report import write_report
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import load_study

    check_page(output, "report.html")
    place = known_place(run, storage=storage, study=study)
    record = load_study(place)
    path = output or _run_folder(place) / "report.html"
    written = write_report(without_samples(record) if no_samples else record, path, with_paths=with_paths)
    echo(as_line(str(written)))
    if open_it:
        click.launch(str(path))


@click.command(short_help="Two studies side by side, as HTML.")
@click.argument("first")
@click.argument("second")
@click.option("--storage", metavar="URL", help="Where both are; FIRST and SECOND are then names of studies.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: compared-….html in FIRST."
)
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@json_option
def compare(first: str, second: str, storage: str | None, output: Path | None, open_it: bool, as_json: bool) -> None:
    """Compare the studies of two runs: definitions, verdicts, curves, and winners paired by seed."""
    from klsearch.reports.report import write_comparison
    from klsearch.search.commands.documents import as_text, comparison_document
    from klsearch.search.storage.place import named_place
    from klsearch.search.storage.records import load_study

    check_page(output, "comparison.html")
    places = [named_place(run, storage) for run in (first, second)]
    records = [load_study(place) for place in places]
    path = output or _run_folder(places[0]) / comparison_file(*places)
    write_comparison(records[0], records[1], path)
    if as_json:
        echo(as_text(comparison_document(records[0], records[1])))
    else:
        from klsearch.reports.pages.comparison import comparison_page

        headline = comparison_page(records[0], records[1]).banner
        show(as_lines([f"{headline.word}: {headline.sentence}", str(path)]))
    if open_it:
        click.launch(str(path))


def comparison_file(first: "Place", second: "Place") -> str:
    """The name of a page beside the first run: no other pair's.

    Runs side by side differ by their folders' names; what lies elsewhere is told apart by a digest of where.
    """
    names = [place.folder.name if place.is_made else place.name for place in (first, second)]
    if not (second.is_made and second.folder.parent == first.folder.parent):
        where = str(second.folder) if second.is_made else f"{second.shown_url} {second.name}"
        names.append(hashlib.sha256(where.encode()).hexdigest()[:8])
    return f"compared-{'-'.join([names[0], 'with', *names[1:]])}.html"


def _run_folder(place: "Place") -> Path:
    """The run folder, made if this machine has none of the study: a later run here then goes on in it.

    Whoever writes there removes what others, which were killed, left half written.
    """
    from klsearch.search.storage.records import stored_definition
    from klsearch.studies.files import remove_unfinished

    if not place.is_made:
        place.create(stored_definition(place).toml_for_any_folder())
    remove_unfinished(place.folder)
    return place.folder
