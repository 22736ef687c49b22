"""A study from its definition to its report, with TensorFlow loaded."""

from functools import partial

from klsearch.reports.report import write_report
from klsearch.reports.tables import write_trials_csv
from klsearch.search.confirmation.confirmer import Apparatus, Probed
from klsearch.search.layout import Layout
from klsearch.search.progress import Progress
from klsearch.search.running.create import Wanted, begun
from klsearch.search.running.options import RunOptions
from klsearch.search.running.session import session
from klsearch.search.running.workers import search_with_workers
from klsearch.search.stopping import Interrupted, Stopper
from klsearch.search.storage.opening import opened
from klsearch.search.storage.patience import patient
from klsearch.search.storage.place import Place
from klsearch.search.storage.records import definition_of, study_record
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.models import build_network, build_population
from klsearch.search.trials.judging import gained
from klsearch.studies.definitions.catalog import LoadedDefinition, override
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.errors import KlsearchError, StorageError
from klsearch.studies.record import StudyRecord
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.evaluation.pictures import take_samples
from klsearch.vae.evaluation.probe import fit_probe, probe_measure
from klsearch.vae.networks.network import Network


def train_study(
    loaded: LoadedDefinition,
    dataset: Dataset,
    place: Place,
    options: RunOptions,
    *,
    progress: Progress,
    stopper: Stopper,
) -> StudyRecord:
    """Start or continue a study, confirm its winner, and write `report.html` and `trials.csv` into the run folder.

    Args and errors are those of `search.run_study.run_study`, which has loaded the data and TensorFlow.
    """
    for warning in (*loaded.definition.warnings(), *dataset.warnings):
        progress.say(f"warning: {warning}")
    wanted = Wanted(
        loaded=loaded,
        dataset=dataset,
        network=build_network(loaded.definition, dataset, loaded.folder),
        place=place,
        options=options,
        progress=progress,
        stop=stopper,
    )
    patience = partial(patient, say=progress.say, stop=stopper)
    with place.held(), opened(place.url, create=True, patience=patience) as storage:
        with stopper.at_once():
            study = begun(storage, wanted)
        try:
            _search(study, wanted, stopper)
        except (Interrupted, KeyboardInterrupt) as stop:
            progress.say("Stopped; what was trained is kept.")
            if isinstance(stop, KeyboardInterrupt) and not stopper.signalled:
                raise  # nobody listens for it: a notebook's, which must not go on with a part of the study
        except KeyError as error:
            if place.name in StudyStorage.names(storage):
                raise
            raise StorageError(
                f"{place.shown_url} no longer holds study {place.name!r}: another program deleted it."
            ) from error
        record = study_record(study, url=place.shown_url, resume_command=place.resume_command)
    if not stopper.signalled:
        _write_outputs(record, place)
    return record


def _search(study: StudyStorage, wanted: Wanted, stopper: Stopper) -> None:
    """Search until the budget is met, and confirm the winner.

    Raises:
        Interrupted: the stopper said so.
    """
    loaded, options = definition_of(study), wanted.options
    definition, layout = study.facts.settle(loaded.definition), study.facts.layout
    population = build_population(definition, wanted.network, wanted.dataset, layout)
    if not options.in_this_process:
        search_with_workers(
            study,
            definition,
            wanted.place,
            workers=options.workers,
            scheduler=options.scheduler,
            until_converged=options.until_converged,
            progress=wanted.progress,
            stop=stopper,
        )
    with session(
        study,
        definition,
        population,
        wanted.place,
        alone=wanted.place.embedded,
        progress=wanted.progress,
        stopper=stopper,
        until_converged=options.until_converged,
    ) as working:
        working.search()
        if options.until_converged:
            _end_early(study, loaded, wanted.place, wanted.progress)
        if options.confirm and definition.confirmation.seeds:
            working.confirm(_apparatus(definition, wanted.network, wanted.dataset, layout))


def _end_early(study: StudyStorage, loaded: LoadedDefinition, place: Place, progress: Progress) -> None:
    """Say that a search has ended before its budget was met, and let what it has be its budget."""
    finished, budget = len(study.counted()), loaded.definition.study.trials
    found = gained(loaded.definition, study.trials())
    if finished >= budget or found is None:
        return
    progress.say(
        f"Converged after {finished} of {budget} trials: the last {found.since} lowered the best score by "
        f"{found.gain:.2g}, less than the {found.noise:.2g} by which scores differ from seed to seed."
    )
    ended = override(loaded, trials=finished).toml_for_any_folder()
    study.replace_definition(ended)
    place.create(ended)


def _apparatus(definition: StudyDefinition, network: Network, dataset: Dataset, layout: Layout) -> Apparatus:
    return Apparatus(
        population=partial(
            build_population, definition, network, dataset, layout.for_members(definition.confirmation.seeds)
        ),
        sampled=partial(take_samples, network, definition.objective(), dataset.splits, columns=dataset.columns),
        probed=_probed(dataset),
    )


def _probed(dataset: Dataset) -> Probed | None:
    measure = None if dataset.labels is None else probe_measure(dataset.labels["train"])
    if dataset.labels is None or measure is None:
        return None
    return partial(fit_probe, labels=dataset.labels, measure=measure)


def _write_outputs(record: StudyRecord, place: Place) -> None:
    """Write `trials.csv` and `report.html` into the run folder."""
    try:
        write_trials_csv(record, place.folder / "trials.csv")
        write_report(record, place.folder / "report.html")
    except OSError as error:
        raise KlsearchError(
            f"{error.filename}: {error.strerror}. All results are in the storage; `{place.resume_command}` writes "
            "what is missing."
        ) from error
