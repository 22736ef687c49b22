"""A study from its definition to its report, with TensorFlow loaded."""

from dataclasses import replace
from functools import partial
from typing import Any

from klsearch.search.confirmation.confirmer import ConfirmationTools, FitProbe
from klsearch.search.confirmation.outlook import proof_ahead
from klsearch.search.layout import Layout
from klsearch.search.running.create import StudyRequest, begin_study
from klsearch.search.running.done.outputs import write_outputs
from klsearch.search.running.options import RunOptions
from klsearch.search.running.session import open_session
from klsearch.search.running.workers import search_with_workers
from klsearch.search.stopping import Interrupted, Stopper
from klsearch.search.storage.database.patience import Patience
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.records import definition_of, study_record
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.forecast import REPORT
from klsearch.search.terminal.progress import Progress
from klsearch.search.training.assignment import Assignment
from klsearch.search.training.models import build_network, build_population
from klsearch.studies.definitions.catalog import LoadedDefinition, override
from klsearch.studies.definitions.data import cautions
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.errors import StorageError
from klsearch.studies.files import remove_unfinished
from klsearch.studies.record import StudyRecord
from klsearch.studies.response import Decision
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.evaluation.latent_map import map_latents
from klsearch.vae.evaluation.pca import pca_unexplained
from klsearch.vae.evaluation.pictures import take_samples
from klsearch.vae.evaluation.probe import fit_probe, probe_measure
from klsearch.vae.networks.kinds import KINDS
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
    for note in dataset.notes:
        progress.say(f"note: {note}")
    for caution in cautions(loaded.definition, dataset):
        progress.say(f"warning: {caution}")
    network = build_network(loaded.definition, dataset, loaded.folder)
    if network.brought is not None:
        for note in network.brought.notes:
            progress.say(f"note: {loaded.definition.model.kind}: {note}")
        for caution in network.brought.cautions:
            progress.say(f"warning: {caution}")
    request = StudyRequest(
        loaded=loaded,
        dataset=dataset,
        network=network,
        place=place,
        options=options,
        progress=progress,
        stop=stopper,
    )
    patience = Patience(say=progress.say, stop=stopper)
    with place.hold(), open_storage(place.url, create=True, patience=patience) as storage:
        for folder in (place.folder, place.kept_members):
            remove_unfinished(folder)
        with stopper.interrupt_at_once():
            study = begin_study(storage, request)
        try:
            _search(study, request, stopper)
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
        write_outputs(record, place, progress=progress, stopper=stopper)
    return record


def _search(study: StudyStorage, request: StudyRequest, stopper: Stopper) -> None:
    """Search until the budget is met, and confirm the winner.

    Raises:
        Interrupted: the stopper said so.
    """
    loaded, options = definition_of(study), request.options
    definition, layout = study.facts.settle(loaded.definition), study.facts.layout
    population = build_population(definition, request.network, request.dataset, layout)
    assignment = Assignment(
        study=study,
        definition=definition,
        population=population,
        alone=request.place.embedded,
    )
    confirms = options.confirm and definition.confirmation.seeds > 0
    proof = proof_ahead(definition, layout, study.facts.procedure, ladder=study.facts.ladder) if confirms else []
    listeners: dict[str, Any] = dict(progress=request.progress, ahead=[*proof, REPORT])
    if not options.in_this_process:
        search_with_workers(study, definition, request.place, options, stop=stopper, **listeners)
    with open_session(assignment, request.place, stopper=stopper, **listeners) as session:
        session.search()
        _end_early(study, loaded, request, session.decide())
        if confirms:
            _measure_pca(study, request.dataset, definition)
            tools = _confirmation_tools(definition, request.network, request.dataset, layout)
            session.confirm(replace(tools, ahead=[REPORT]))


def _end_early(study: StudyStorage, loaded: LoadedDefinition, request: StudyRequest, found: Decision | None) -> None:
    """Say that a search has ended before its budget was met, and let what it has be its budget."""
    finished, budget = len(study.counted_numbers()), loaded.definition.study.trials
    if finished >= budget or found is None:
        return
    request.progress.say(
        f"Decided after {finished} of at most {budget} trials: no other setting is expected to lower `unexplained` by "
        f"more than {found.gain:.1%} of trial {found.leader}'s; up to {found.tolerance:.1%} is within the noise of "
        "training."
    )
    ended = override(loaded, trials=finished).toml_for_any_folder()
    study.replace_definition(ended)
    request.place.create(ended)


def _measure_pca(study: StudyStorage, dataset: Dataset, definition: StudyDefinition) -> None:
    """Measure what a PCA leaves unexplained for a study that was made before that was."""
    data, deviance = study.facts.data, definition.objective().likelihood.deviance
    if not data.pca and (pca := pca_unexplained(dataset.splits, definition.model.latent_dim, deviance)):
        study.change_facts(data=replace(data, pca=pca))


def _confirmation_tools(
    definition: StudyDefinition, network: Network, dataset: Dataset, layout: Layout
) -> ConfirmationTools:
    return ConfirmationTools(
        build_population=partial(
            build_population, definition, network, dataset, layout.for_members(definition.confirmation.seeds)
        ),
        take_samples=partial(
            take_samples,
            network,
            definition.objective(),
            dataset.splits,
            columns=dataset.columns,
            condition=dataset.condition,
            as_series=definition.model.kind in KINDS and KINDS[definition.model.kind].is_of_series,
        ),
        fit_probe=_probe_fitter(dataset),
        map_latents=partial(map_latents, labels=dataset.labels, split="test"),
    )


def _probe_fitter(dataset: Dataset) -> FitProbe | None:
    measure = None if dataset.labels is None else probe_measure(dataset.labels["train"])
    if dataset.labels is None or measure is None:
        return None
    return partial(fit_probe, labels=dataset.labels, measure=measure)
