"""Commands that train a study: run, resume, confirm. Each parses, makes one call and prints.

Heavy libraries load inside the commands.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from klsearch.search.commands.options import (
    EXIT_INTERRUPTED,
    EXIT_NOT_STABLE,
    result_options,
    run_argument,
    storage_options,
    study_argument,
    timeout_option,
    training_options,
)
from klsearch.search.terminal.printing import echo, show, table_width
from klsearch.studies.errors import StorageError, UsageError

if TYPE_CHECKING:
    from klsearch.search.stopping import Stopper
    from klsearch.search.storage.place import Place
    from klsearch.studies.definitions.catalog import LoadedDefinition
    from klsearch.studies.record import StudyRecord


@click.command(short_help="Start a study, or continue it.")
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

    loaded = override(load_definition(study_or_file), trials=trials, stop=_stop_at(trials), seed=seed, name=study)
    place = new_place(loaded.definition.study.name, storage=storage, out=out)
    earlier = None if warm_start is None else known_place(warm_start, storage=None, study=None)
    return _train(loaded, place, _Options(warm_start=earlier, **options))


@click.command(short_help="Continue an existing study.")
@run_argument
@training_options
def resume(run: str | None, trials: int | None, storage: str | None, study: str | None, **options: Any) -> int:
    """Continue the study in the run folder RUN, or the one that --storage and --study name."""
    from klsearch.search.storage.place import known_place
    from klsearch.search.storage.records import stored_definition
    from klsearch.studies.definitions.catalog import override

    place = known_place(run, storage=storage, study=study)
    loaded = override(stored_definition(place), trials=trials, stop=_stop_at(trials))
    return _train(loaded, place, _Options(**options))


def _stop_at(trials: int | None) -> str | None:
    """When a search ends for which a number of trials was asked: not before it is met."""
    return None if trials is None else "budget"


@click.command(short_help="Confirm on more fresh seeds.")
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
    return _train(loaded, place, _Options(**options))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of a command that trains, as its command line says."""

    timeout: float | None
    require_stable: bool
    quiet: bool
    no_progress: bool
    as_json: bool
    slots: int | Literal["measure"] | None = None
    workers: int = 1
    backend: str = "loky"
    scheduler: str | None = None
    until_converged: bool = False
    no_confirm: bool = False
    warm_start: "Place | None" = None


def _train(loaded: "LoadedDefinition", place: "Place", given: _Options) -> int:
    from klsearch.search.run_study import run_study
    from klsearch.search.running.options import RunOptions
    from klsearch.search.stopping import Interrupted, Stopper
    from klsearch.search.terminal.live import Terminal
    from klsearch.search.terminal.progress import Silence
    from klsearch.search.training.tensorflow import take_this_process
    from klsearch.studies.summary import summarize
    from klsearch.vae.diagnostics.gates import Verdict

    if (given.backend == "dask") != (given.scheduler is not None):
        raise UsageError("give --backend dask and --scheduler ADDRESS together, or neither.")
    if given.scheduler is not None and given.workers > 1:
        raise UsageError("all workers of the Dask cluster search; leave --workers out.")
    options = RunOptions(
        slots=given.slots,
        confirm=not given.no_confirm,
        workers=given.workers,
        scheduler=given.scheduler,
        until_converged=given.until_converged,
        warm_start=given.warm_start,
    )
    take_this_process()
    stopper = Stopper(given.timeout)
    try:
        with Terminal(live=not given.no_progress) as terminal, stopper.listen(terminal.answer_signal):
            progress = Silence() if given.quiet else terminal
            record = run_study(loaded, place, options, progress=progress, stopper=stopper)
    except Interrupted as error:
        raise StorageError(
            "stopped while the storage did not answer; what was trained is kept. Give the same command again to go on.",
            exit_code=EXIT_INTERRUPTED if stopper.signalled else None,
        ) from error
    _print_result(record, place, stopper, as_json=given.as_json)
    if stopper.signalled:
        return EXIT_INTERRUPTED
    stable = summarize(record).verdict in (Verdict.STABLE, Verdict.CAVEATS)
    return EXIT_NOT_STABLE if given.require_stable and not stable else 0


def _print_result(record: "StudyRecord", place: "Place", stopper: "Stopper", *, as_json: bool) -> None:
    from klsearch.search.commands.documents import as_text, best_document
    from klsearch.search.commands.text import result_text

    if as_json:
        echo(as_text(best_document(record)))
    else:
        report = None if stopper.signalled else place.folder / "report.html"
        stopped = stopper.signalled or stopper.stopped
        show(result_text(record, report=report, stopped=stopped, width=table_width()))
