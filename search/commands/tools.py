"""Commands around a study: definitions, this machine, and the winner to take away.

Heavy libraries load inside the commands.
"""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from klsearch.reports.visible import as_line
from klsearch.search.commands.options import (
    EXIT_FAILED,
    json_option,
    named_storage_option,
    run_argument,
    runs_beginning_with,
    storage_options,
    study_argument,
)
from klsearch.search.terminal.printing import echo, show
from klsearch.studies.errors import UsageError

_EXPORTED = ("encoder.keras", "decoder.keras", "scaler.json", "best.toml", "vae_settings.py")

if TYPE_CHECKING:
    from klsearch.search.storage.place import Place
    from klsearch.search.terminal.progress import Progress
    from klsearch.studies.definitions.proposed import Proposal


@click.command("list", short_help="The built-in studies.")
@json_option
def list_studies(as_json: bool) -> None:
    """The built-in studies, which `run` and `check` take by name."""
    from klsearch.search.commands.documents import as_text, studies_document
    from klsearch.studies.definitions.catalog import builtin_studies

    studies = builtin_studies()
    if as_json:
        echo(as_text(studies_document(studies)))
    else:
        width = max(map(len, studies))
        echo("\n".join(f"{name.ljust(width)}  {about}" for name, about in studies.items()))


@click.command(short_help="Write a commented definition to start from.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", metavar="SOURCE", help="Fit it to these data: a file, a folder or package.module:function.")
@click.option("--array", metavar="NAME", help="Which array of an .npz is the data.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def init(file: Path, data: str | None, array: str | None, force: bool) -> None:
    """Write a commented study definition to FILE.

    With --data, likelihood, sizes and the range of KL weights are those that the data suggest, with the reasons.
    Columns of a table that cannot be data, as dates cannot, are left out.
    """
    from klsearch.studies.definitions.catalog import template
    from klsearch.studies.files import write_atomically

    if file.is_dir():
        raise UsageError(f"{file} is a folder; name a file in it, say {file / 'study.toml'}.")
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UsageError(f"{file} is a link or a device, so it is not replaced; name another file.")
    if file.exists() and not force:
        raise UsageError(f"{file} exists; give --force to overwrite it.")
    if array is not None and data is None:
        raise UsageError("--array names an array of --data FILE.npz; give that too.")
    if data is None:
        write_atomically(file, template())
    else:
        proposal = _proposal_for(data, file, array)
        write_atomically(file, proposal.text)
        for column, what in proposal.left_out.items():
            show(as_line(f"note: column '{column}' is left out: {what}"))
    echo(as_line(f"Wrote {file}. Next: klsearch check {shlex.quote(str(file))}"))


def _proposal_for(data: str, file: Path, array: str | None) -> "Proposal":
    from klsearch.studies.definitions.proposed import propose_definition
    from klsearch.vae.data.sources import is_path

    folder = file.resolve().parent
    if is_path(data):
        path = Path(data).expanduser().resolve()
        data = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    return propose_definition(data, folder, name=file.stem, array=array)


@click.command(short_help="Validate a definition and its data without training.")
@study_argument
@json_option
def check(study_or_file: str, as_json: bool) -> None:
    """Validate STUDY, a built-in study's name or a TOML file, load its data and build a model of your own.

    Nothing is trained. Also says about how long the study will take here, and how much memory.
    """
    from klsearch.search.commands.check import OwnModel, estimate, examine_own_model, find_card, measure_speed
    from klsearch.search.commands.documents import as_text, check_document
    from klsearch.search.commands.text import check_text
    from klsearch.search.training.tensorflow import take_this_process
    from klsearch.studies.definitions.data import load_with_data

    take_this_process()
    examined: list[OwnModel | None] = []
    loaded, dataset = load_with_data(study_or_file, lambda *given: examined.append(examine_own_model(*given)))
    (own,) = examined
    expected = estimate(loaded.definition, dataset, measure_speed(), find_card())
    if as_json:
        echo(as_text(check_document(loaded.definition, dataset, expected, own)))
    else:
        show(check_text(loaded, dataset, expected, own=own))


@click.command(short_help="Versions, devices, memory and storage.")
@click.option("--storage", metavar="URL", help="The storage to look at; default: KLSEARCH_STORAGE.")
@json_option
def doctor(storage: str | None, as_json: bool) -> int:
    """Show what klsearch finds here: versions, extras, devices, memory, and whether the storage answers.

    Exits with 1 if no study can be run here, with 4 if only the storage does not answer.
    """
    from klsearch.search.commands.doctor import examine, health_text
    from klsearch.search.commands.documents import as_text, health_document

    health = examine(storage)
    echo(as_text(health_document(health)) if as_json else health_text(health))
    return health.exit_code


@click.command(short_help="The winner as Keras models, and its settings.")
@click.argument("run", shell_complete=runs_beginning_with)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@named_storage_option
@click.option("--force", is_flag=True, help="Replace the files of an earlier export in DIR.")
def export(run: str, folder: Path, storage: str | None, force: bool) -> None:
    """Write the winner of RUN into DIR, to be used without klsearch.

    encoder.keras and decoder.keras, which plain Keras loads; scaler.json, how rows are scaled; vae_settings.py, the
    settings in plain Keras for a training loop of your own; best.toml, the definition with the winner as a baseline.
    No weights are stored, so the winner is trained once more: on the best fresh seed that passes every gate, or on the
    search's where none does or it is not confirmed yet.
    """
    from klsearch.search.commands.text import export_text
    from klsearch.search.storage.place import named_place
    from klsearch.search.storage.records import stored_definition
    from klsearch.studies.definitions.data import load_data

    _check_folder(folder, force=force)  # before anything is loaded or trained
    place = named_place(run, storage)
    loaded = stored_definition(place)
    dataset = load_data(loaded.definition, loaded.folder)
    with _training_again(place) as progress:
        from klsearch.search.commands.export.winner import export_winner

        exported = export_winner(loaded, dataset, place, folder, progress=progress)
    show(export_text(exported))


def _check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a folder that cannot be written, or holds something, unless forced: then an export's files are replaced.

    Raises:
        UsageError: it is a file, holds something, or may not be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder.")
    if folder.exists() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is not empty; give --force to replace {', '.join(_EXPORTED)} in it.")
    beside = next(above for above in folder.absolute().parents if above.exists())  # where it is prepared
    for there in (beside, *([folder.absolute()] if folder.exists() else [])):
        if not (there.is_dir() and os.access(there, os.W_OK)):
            why = "not writable" if there.is_dir() else "a file"
            raise UsageError(f"{folder} cannot be written: {there} is {why}.")


@click.command(short_help="Train a trial again and compare.")
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
        from klsearch.search.running.reproduction import reproduce_trial

        found = reproduce_trial(loaded, dataset, place, trial, progress=progress)
    if as_json:
        echo(as_text(reproduction_document(found)))
    else:
        show(reproduction_text(found))
    return 0 if found.matches else EXIT_FAILED


@contextmanager
def _training_again(place: "Place") -> "Iterator[Progress]":
    """A block that trains what is stored once more, in a process set up as the one that trained it first."""
    from klsearch.search.storage.records import stored_layout
    from klsearch.search.terminal.live import Terminal
    from klsearch.search.training.tensorflow import load_tensorflow, take_this_process

    take_this_process()
    layout = stored_layout(place)
    with Terminal(live=True) as progress:
        progress.say("Loading TensorFlow…")
        load_tensorflow(within=layout.within if layout is not None else 1)
        yield progress


@click.command(short_help="Optuna's dashboard on the study.")
@run_argument
@storage_options
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 for any that is free.")
@click.option("--write", is_flag=True, help="Let it change and delete studies.")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
def dashboard(run: str | None, storage: str | None, study: str | None, port: int, write: bool, open_it: bool) -> None:
    """Show the study of RUN in optuna-dashboard, on this machine alone, until Ctrl-C.

    Whoever has the address that is printed can read all studies of the storage; with --write also change and delete
    them. Install klsearch[dashboard]: the dashboard is Optuna's.
    """
    from klsearch.search.commands.dashboard.server import serve_dashboard
    from klsearch.search.storage.place import known_place

    def ready(address: str, address_for_once: Callable[[], str]) -> None:
        echo(f"{address} (for whoever has this address on this machine; Ctrl-C ends it)")
        if open_it:
            click.launch(address_for_once())

    place = known_place(run, storage=storage, study=study)
    serve_dashboard(place, port=port, can_write=write, ready=ready)


@click.command(short_help="A script that completes commands in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete klsearch's commands, options, studies and runs.

    For bash and zsh put `eval "$(klsearch completion SHELL)"` into ~/.bashrc or ~/.zshrc; for fish write the script to
    ~/.config/fish/completions/klsearch.fish.
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    echo(script(click.get_current_context().find_root().command, {}, "klsearch", "_KLSEARCH_COMPLETE").source())
