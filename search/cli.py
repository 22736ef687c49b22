"""The command line: every command parses, makes one call and prints. Heavy libraries load inside commands."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from klsearch.search.commands.options import (
    json_option,
    named_storage_option,
    result_options,
    run_argument,
    runs_beginning_with,
    storage_options,
    study_argument,
    timeout_option,
    training_options,
)
from klsearch.studies.errors import KlsearchError, StorageError, UsageError

if TYPE_CHECKING:
    from klsearch.search.progress import Progress
    from klsearch.search.stopping import Stopper
    from klsearch.search.storage.place import Place
    from klsearch.studies.definitions.catalog import LoadedDefinition
    from klsearch.studies.record import StudyRecord

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_STABLE, EXIT_INTERRUPTED = 1, 2, 3, 130
_PAGE_OF_OURS = b'<meta name="generator" content="klsearch">'


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="klsearch", message="klsearch %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Find the settings that keep a variational autoencoder's KL term in its band.

    Exit codes: 0 done, 1 failed, 2 wrong usage, definition or data, 3 not stable (with --require-stable),
    4 storage, 130 interrupted with everything saved.
    """
    del debug


@cli.command(short_help="Start a study, or continue it.")
@study_argument
@click.option("--seed", type=click.IntRange(0), help="The study's seed, instead of the definition's.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run folder; default: runs/NAME.")
@click.option(
    "--warm-start", metavar="RUN", help="Begin a new study with the complete trials of this run that lie in its space."
)
@training_options
def run(
    study_or_file: str, seed: int | None, out: Path | None, warm_start: str | None, trials: int | None,
    storage: str | None, study: str | None, **options: Any,
) -> int:  # fmt: skip
    """Search the settings of STUDY, a built-in study's name or a TOML file, confirm the winner, write the report.

    A study that exists is continued. A warm start takes trials over that were trained on the same data, with the same
    model, training and KL reduction; they do not count to the budget.
    """
    from klsearch.search.storage.place import known_place, new_place
    from klsearch.studies.definitions.catalog import load_definition, override

    loaded = override(load_definition(study_or_file), trials=trials, seed=seed, name=study)
    place = new_place(loaded.definition.study.name, storage=storage, out=out)
    earlier = None if warm_start is None else known_place(warm_start, storage=None, study=None)
    return _train(loaded, place, warm_start=earlier, **options)


@cli.command(short_help="Continue an existing study.")
@run_argument
@training_options
def resume(run: str | None, trials: int | None, storage: str | None, study: str | None, **options: Any) -> int:
    """Continue the study in the run folder RUN, or the one that --storage and --study name."""
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import stored_definition
    from klsearch.studies.definitions.catalog import override

    place = known_place(run, storage=storage, study=study)
    return _train(override(stored_definition(place), trials=trials), place, **options)


@cli.command(short_help="Confirm on more fresh seeds.")
@run_argument
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Fresh seeds in all; default: the definition's.")
@timeout_option
@storage_options
@result_options
def confirm(run: str | None, seeds: int | None, storage: str | None, study: str | None, **options: Any) -> int:
    """Train the leading trials and the baselines of RUN on N fresh seeds in all, and judge and report again.

    What is trained already stays. The study's definition asks for N seeds from then on.
    """
    from klsearch.search.confirmation.seeds_asked import with_seeds
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import load_study, stored_definition

    place = known_place(run, storage=storage, study=study)
    loaded = with_seeds(stored_definition(place), load_study(place), seeds)
    alone: dict[str, Any] = {
        "slots": None, "workers": 1, "backend": "loky", "scheduler": None, "until_converged": False, "no_confirm": False
    }  # fmt: skip
    return _train(loaded, place, **alone, **options)


def _train(
    loaded: "LoadedDefinition", place: "Place", *, timeout: float | None, slots: int | None, workers: int, backend: str,
    scheduler: str | None, until_converged: bool, no_confirm: bool,
    require_stable: bool, quiet: bool, no_progress: bool, as_json: bool, warm_start: "Place | None" = None,
) -> int:  # fmt: skip
    from klsearch.search.progress import Silence, Terminal
    from klsearch.search.run_study import run_study
    from klsearch.search.running.options import RunOptions
    from klsearch.search.stopping import Interrupted, Stopper
    from klsearch.studies.summary import summarize
    from klsearch.vae.diagnostics.gates import Verdict

    if (backend == "dask") != (scheduler is not None):
        raise UsageError("give --backend dask and --scheduler ADDRESS together, or neither.")
    if scheduler is not None and workers > 1:
        raise UsageError("all workers of the Dask cluster search; leave --workers out.")
    options = RunOptions(
        slots=slots,
        confirm=not no_confirm,
        workers=workers,
        scheduler=scheduler,
        until_converged=until_converged,
        warm_start=warm_start,
    )
    stopper = Stopper(timeout)
    try:
        with stopper.listening(), Terminal(live=not no_progress) as terminal:
            record = run_study(loaded, place, options, progress=Silence() if quiet else terminal, stopper=stopper)
    except Interrupted as error:
        raise StorageError(
            "stopped while the storage did not answer; what was trained is kept. Give the same command again to go on.",
            exit_code=EXIT_INTERRUPTED if stopper.signalled else None,
        ) from error
    _print_result(record, place, stopper, as_json=as_json)
    if stopper.signalled:
        return EXIT_INTERRUPTED
    stable = summarize(record).verdict in (Verdict.STABLE, Verdict.CAVEATS)
    return EXIT_NOT_STABLE if require_stable and not stable else 0


def _print_result(record: "StudyRecord", place: "Place", stopper: "Stopper", *, as_json: bool) -> None:
    from klsearch.search.commands.documents import as_text, best_document
    from klsearch.search.commands.text import result_text

    if as_json:
        click.echo(as_text(best_document(record)))
    else:
        report = None if stopper.signalled else place.folder / "report.html"
        click.echo(result_text(record, report=report, stopped=stopper.signalled or stopper.stopped))


@cli.command(short_help="Write the HTML report again.")
@run_argument
@storage_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: report.html in RUN.")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@click.option("--no-samples", is_flag=True, help="Leave out pictures of the data and names of its columns.")
def report(
    run: str | None, storage: str | None, study: str | None, output: Path | None, open_it: bool, no_samples: bool
) -> None:
    """Write the HTML report of RUN again, from its storage alone."""
    from dataclasses import replace

    from klsearch.reports.report import write_report
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import load_study

    _check_output(output, "report.html")
    place = known_place(run, storage=storage, study=study)
    record = load_study(place)
    path = output or _run_folder(place) / "report.html"
    click.echo(write_report(replace(record, samples=None) if no_samples else record, path))
    if open_it:
        click.launch(str(path))


@cli.command(short_help="Two studies side by side, as HTML.")
@click.argument("first")
@click.argument("second")
@click.option("--storage", metavar="URL", help="Where both are; FIRST and SECOND are then names of studies.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: compared-with-….html in FIRST."
)
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@json_option
def compare(first: str, second: str, storage: str | None, output: Path | None, open_it: bool, as_json: bool) -> None:
    """Compare the studies of two runs: definitions, verdicts, curves, and winners paired by seed."""
    from klsearch.reports.report import write_comparison
    from klsearch.search.commands.documents import as_text, comparison_document
    from klsearch.search.storage.place import named_place
    from klsearch.search.storage.records import load_study

    _check_output(output, "comparison.html")
    places = [named_place(run, storage) for run in (first, second)]
    records = [load_study(place) for place in places]
    path = output or _run_folder(places[0]) / f"compared-with-{places[1].name}.html"
    write_comparison(records[0], records[1], path)
    click.echo(as_text(comparison_document(records[0], records[1])) if as_json else path)
    if open_it:
        click.launch(str(path))


def _run_folder(place: "Place") -> Path:
    """The run folder, made if this machine has none of the study: a later run here then goes on in it."""
    from klsearch.search.storage.records import stored_definition

    if not place.is_made:
        place.create(stored_definition(place).toml_for_any_folder())
    return place.folder


def _check_output(output: Path | None, example: str) -> None:
    """Refuse a file to write a page to if it is something else than a page of ours, which may be renewed."""
    if output is None or not output.exists():
        return
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it, say {output / example}.")
    if not output.is_file() or _PAGE_OF_OURS not in output.read_bytes():
        raise UsageError(f"{output} is no page that klsearch wrote, and is not overwritten; name another file.")


@cli.command(short_help="The winner as Keras models, and its settings.")
@click.argument("run", shell_complete=runs_beginning_with)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@named_storage_option
@click.option("--force", is_flag=True, help="Replace the files of an earlier export in DIR.")
def export(run: str, folder: Path, storage: str | None, force: bool) -> None:
    """Write the winner of RUN into DIR, to be used without klsearch.

    encoder.keras and decoder.keras, which plain Keras loads; scaler.json, how rows are scaled; vae_settings.py, the
    settings in plain Keras for a training loop of your own; best.toml, the definition with the winner as a baseline.
    No weights are stored, so the winner is trained once more: on its best fresh seed, or on its own before it is
    confirmed.
    """
    from klsearch.search.commands.text import exported_text
    from klsearch.search.storage.place import named_place
    from klsearch.search.storage.records import stored_definition
    from klsearch.studies.definitions.data import load_data

    place = named_place(run, storage)
    loaded = stored_definition(place)
    dataset = load_data(loaded.definition, loaded.folder)
    with _training_again(place) as progress:
        from klsearch.search.commands.export import export_winner

        exported = export_winner(loaded, dataset, place, folder, force=force, progress=progress)
    click.echo(exported_text(exported))


@cli.command(short_help="Train a trial again and compare.")
@click.argument("run", shell_complete=runs_beginning_with)
@click.argument("trial", type=click.IntRange(0))
@named_storage_option
@json_option
def reproduce(run: str, trial: int, storage: str | None, as_json: bool) -> int:
    """Train TRIAL of RUN again from its stored settings and seed, and say whether it matches bit for bit.

    If not, exit with 1 and name the values that differ, and the versions and parts of the machine that have changed.
    """
    from klsearch.search.commands.documents import as_text, reproduction_document
    from klsearch.search.commands.text import reproduction_text
    from klsearch.search.storage.place import named_place
    from klsearch.search.storage.records import stored_definition
    from klsearch.studies.definitions.data import load_data

    place = named_place(run, storage)
    loaded = stored_definition(place)
    dataset = load_data(loaded.definition, loaded.folder)
    with _training_again(place) as progress:
        from klsearch.search.commands.reproduction import reproduce_trial

        found = reproduce_trial(loaded, dataset, place, trial, progress=progress)
    click.echo(as_text(reproduction_document(found)) if as_json else reproduction_text(found))
    return 0 if found.matches else EXIT_FAILED


@contextmanager
def _training_again(place: "Place") -> "Iterator[Progress]":
    """A block that trains what is stored once more, in a process set up as the one that trained it first."""
    from klsearch.search.progress import Terminal
    from klsearch.search.storage.records import stored_layout
    from klsearch.search.training.tensorflow import load_tensorflow

    layout = stored_layout(place)
    with Terminal(live=True) as progress:
        progress.say("Loading TensorFlow…")
        load_tensorflow(within=layout.within if layout is not None else 1)
        yield progress


@cli.command(short_help="Where a study stands.")
@run_argument
@storage_options
@click.option("--watch", is_flag=True, help="Again every two seconds, until no process works on it.")
@json_option
def status(run: str | None, storage: str | None, study: str | None, watch: bool, as_json: bool) -> None:
    """Where the study of RUN stands, with the latest values of its leading running trials."""
    from klsearch.search.commands.documents import as_text, status_document
    from klsearch.search.commands.text import status_text
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import load_study, watch_study

    if watch and as_json:
        raise UsageError("give --watch or --json, not both: --json prints one document.")
    place = known_place(run, storage=storage, study=study)
    for record in watch_study(place, seconds=2.0) if watch else [load_study(place)]:
        click.echo(as_text(status_document(record)) if as_json else status_text(record))


@cli.command(short_help="The winner.")
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
    click.echo(as_text(best_document(record)) if as_json else best_text(record))


@cli.command(short_help="All trials.")
@run_argument
@storage_options
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def trials(run: str | None, storage: str | None, study: str | None, as_json: bool, as_csv: bool) -> None:
    """Every trial of RUN."""
    from klsearch.search.commands.documents import as_text, trials_document
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import load_study

    if as_json and as_csv:
        raise UsageError("give --json or --csv, not both.")
    record = load_study(known_place(run, storage=storage, study=study))
    if as_json:
        click.echo(as_text(trials_document(record)))
    elif as_csv:
        from klsearch.reports import tables

        click.echo(tables.as_csv(tables.trials_frame(record)), nl=False)
    else:
        from klsearch.search.commands.text import trials_text

        click.echo(trials_text(record))


@cli.command("list", short_help="The built-in studies.")
@json_option
def list_studies(as_json: bool) -> None:
    """The built-in studies, which `run` and `check` take by name."""
    from klsearch.search.commands.documents import as_text
    from klsearch.studies.definitions.catalog import builtin_studies

    studies = builtin_studies()
    if as_json:
        click.echo(as_text({"studies": [{"name": name, "about": about} for name, about in studies.items()]}))
    else:
        width = max(map(len, studies))
        click.echo("\n".join(f"{name.ljust(width)}  {about}" for name, about in studies.items()))


@cli.command(short_help="Write a commented definition to start from.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def init(file: Path, force: bool) -> None:
    """Write a commented study definition to FILE."""
    from klsearch.studies.definitions.catalog import template
    from klsearch.studies.files import write_atomically

    if file.is_dir():
        raise UsageError(f"{file} is a folder; name a file in it, say {file / 'study.toml'}.")
    if file.exists() and not force:
        raise UsageError(f"{file} exists; give --force to overwrite it.")
    write_atomically(file, template())
    click.echo(f"Wrote {file}. Next: klsearch check {file}")


@cli.command(short_help="Validate a definition and its data without training.")
@study_argument
@json_option
def check(study_or_file: str, as_json: bool) -> None:
    """Validate STUDY, a built-in study's name or a TOML file, load its data and build a model of your own.

    Nothing is trained. Also says about how long the study will take here, and how much memory.
    """
    from klsearch.search.commands.documents import as_text
    from klsearch.search.commands.estimate import estimate
    from klsearch.search.commands.own_model import weights_of_own_model
    from klsearch.search.commands.speed import measured_speed
    from klsearch.search.commands.text import check_document, check_text
    from klsearch.studies.definitions.catalog import load_definition
    from klsearch.studies.definitions.data import load_data

    loaded = load_definition(study_or_file)
    dataset = load_data(loaded.definition, loaded.folder)
    own_weights = weights_of_own_model(loaded.definition, dataset, loaded.folder)
    expected = estimate(loaded.definition, dataset, measured_speed())
    if as_json:
        click.echo(as_text(check_document(loaded, dataset, expected)))
    else:
        click.echo(check_text(loaded, dataset, expected, own_weights=own_weights))


@cli.command(short_help="Optuna's dashboard on the study.")
@run_argument
@storage_options
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 for any that is free.")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
def dashboard(run: str | None, storage: str | None, study: str | None, port: int, open_it: bool) -> None:
    """Show the study of RUN in optuna-dashboard, on this machine alone, until Ctrl-C.

    The dashboard is Optuna's (install klsearch[dashboard]): it can also delete studies.
    """
    from klsearch.search.commands.dashboard import serve_dashboard
    from klsearch.search.storage.place import known_place

    def ready(address: str) -> None:
        click.echo(f"{address} (Ctrl-C ends it)")
        if open_it:
            click.launch(address)

    serve_dashboard(known_place(run, storage=storage, study=study), port=port, ready=ready)


@cli.command(short_help="A script that completes commands in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete klsearch's commands, options, studies and runs.

    For bash and zsh put `eval "$(klsearch completion SHELL)"` into ~/.bashrc or ~/.zshrc; for fish write the script to
    ~/.config/fish/completions/klsearch.fish.
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(cli, {}, "klsearch", "_KLSEARCH_COMPLETE").source())


@cli.command(short_help="Versions, devices, memory and storage.")
@click.option("--storage", metavar="URL", help="The storage to look at; default: KLSEARCH_STORAGE.")
@json_option
def doctor(storage: str | None, as_json: bool) -> int:
    """What klsearch finds here: versions, extras, devices, memory, and whether the storage answers.

    Exits with 1 if no study can be run here, with 4 if only the storage does not answer.
    """
    from klsearch.search.commands.doctor import examine, health_document, health_text
    from klsearch.search.commands.documents import as_text

    health = examine(storage)
    click.echo(as_text(health_document(health)) if as_json else health_text(health))
    return health.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        status = cli.main(given, prog_name="klsearch", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.ClickException as error:
        hint = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "klsearch"
        return _fail(f"{error.format_message()} See `{hint} --help`.", EXIT_USAGE, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted.", EXIT_INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc()
        exit_code = error.exit_code if isinstance(error, KlsearchError) else EXIT_FAILED
        return _fail(_in_words(error), exit_code, as_json=as_json)


def _in_words(error: Exception) -> str:
    """What went wrong, for the user."""
    if isinstance(error, KlsearchError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error} (an error in klsearch; `klsearch --debug …` shows where)"


def _fail(message: str, exit_code: int, *, as_json: bool) -> int:
    from klsearch.search.commands.documents import as_text, error_document

    if as_json:
        click.echo(as_text(error_document(message, exit_code)))
    else:
        click.echo("\n".join(f"klsearch: {line}" for line in message.splitlines()), err=True)
    return exit_code
