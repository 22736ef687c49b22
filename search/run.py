"""A study from its definition to its report, with TensorFlow loaded."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from optuna.storages import BaseStorage

from reports.report import write_report
from reports.tables import write_trials_csv
from search.backends import opened
from search.facts import StudyFacts
from search.judging import gained
from search.layout import Layout, layout_of
from search.models import build_network, build_population
from search.options import RunOptions
from search.patience import patient
from search.place import Place
from search.progress import Progress
from search.provenance import EARLIER, provenance
from search.quiet import threads_within
from search.reconfirmation import with_all_seeds
from search.records import definition_of, study_record
from search.reference import find_reference
from search.rows import EarlierTrial
from search.session import Apparatus, Probed, session
from search.slots import auto_layout
from search.stopping import Interrupted, Stopper
from search.storage import StudyStorage
from search.warm_start import warm_start
from search.workers import search_with_workers
from studies.catalog import LoadedDefinition, override
from studies.definition import StudyDefinition, differences
from studies.errors import KlsearchError, StorageError, StudyConflict
from studies.record import DataFacts, Reference, StudyRecord
from vae.datasets import Dataset
from vae.networks import Network
from vae.pictures import take_samples
from vae.probe import fit_probe, probe_measure
from vae.threads import side_by_side


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

    Args and errors are those of `search.launch.run_study`, which has loaded the data and TensorFlow.
    """
    definition = loaded.definition
    for warning in (*definition.warnings(), *dataset.warnings):
        progress.say(f"warning: {warning}")
    network = build_network(definition, dataset, loaded.folder)
    patience = partial(patient, say=progress.say, stop=stopper)
    with place.held(), opened(place.url, create=True, patience=patience) as storage:
        with stopper.at_once():
            study = _begun(storage, loaded, dataset, network, place, options, progress, stopper)
        loaded = definition_of(study)
        definition = study.facts.settle(loaded.definition)
        population = build_population(definition, network, dataset, study.facts.layout)
        try:
            if not options.in_this_process:
                search_with_workers(
                    study,
                    definition,
                    place,
                    workers=options.workers,
                    scheduler=options.scheduler,
                    until_converged=options.until_converged,
                    progress=progress,
                    stop=stopper,
                )
            with session(
                study,
                definition,
                population,
                place,
                alone=place.embedded,
                progress=progress,
                stopper=stopper,
                until_converged=options.until_converged,
            ) as working:
                working.search()
                if options.until_converged:
                    _end_early(study, loaded, place, progress)
                if options.confirm and definition.confirmation.seeds:
                    working.confirm(_apparatus(definition, network, dataset, study.facts.layout))
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
        try:
            write_outputs(record, place)
        except OSError as error:
            raise KlsearchError(
                f"{error.filename}: {error.strerror}. All results are in the storage; `{place.resume_command}` writes "
                "what is missing."
            ) from error
    return record


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


def write_outputs(record: StudyRecord, place: Place) -> None:
    """Write `trials.csv` and `report.html` into the run folder."""
    write_trials_csv(record, place.folder / "trials.csv")
    write_report(record, place.folder / "report.html")


def _begun(
    storage: BaseStorage,
    loaded: LoadedDefinition,
    dataset: Dataset,
    network: Network,
    place: Place,
    options: RunOptions,
    progress: Progress,
    stop: Callable[[], bool],
) -> StudyStorage:
    """The study, made if it is not there, and its run folder.

    Raises:
        StudyConflict: there is one that cannot go on under this definition.
    """
    study = None
    if not StudyStorage.exists(storage, place.name, alone=place.embedded):
        with suppress(StudyConflict):  # another process made it while the slots were measured
            study = _created(storage, loaded, dataset, network, place, options, progress, stop)
    if study is None:
        StudyStorage.exists(storage, place.name, alone=False)  # waits until it is whole
        study = StudyStorage.load(storage, place.name)
        _agree(study, loaded.definition, dataset, options, place)
        loaded = _kept(loaded, study, progress)
    study.replace_definition(loaded.toml_for_any_folder())
    study.change_facts(**_news(study.facts, loaded))
    place.create(loaded.toml_for_any_folder())
    return study


def _kept(loaded: LoadedDefinition, study: StudyStorage, progress: Progress) -> LoadedDefinition:
    """The definition under which a study goes on, and what the user should know of it."""
    kept, before = with_all_seeds(loaded, study), definition_of(study).definition
    if kept is not loaded:
        progress.say(
            f"The winner stays confirmed on {kept.definition.confirmation.seeds} fresh seeds, not on the "
            f"{loaded.definition.confirmation.seeds} that the definition asks for: no result is dropped."
        )
    if kept.definition.gates != before.gates and study.trials():
        progress.say(
            "warning: [gates] has changed. What is shown of earlier trials is judged anew; the search goes on from how "
            "they were judged when they ended."
        )
    return kept


def _created(
    storage: BaseStorage,
    loaded: LoadedDefinition,
    dataset: Dataset,
    network: Network,
    place: Place,
    options: RunOptions,
    progress: Progress,
    stop: Callable[[], bool],
) -> StudyStorage:
    """A new study.

    Raises:
        UsageError: what it should begin with does not fit it.
        KlsearchError: the reference gives no band, or `stop` said so before it did.
        StudyConflict: another process has made it meanwhile.
    """
    begun_with = None
    if options.warm_start is not None:  # first of all, for it may be refused
        begun_with = warm_start(loaded.definition, dataset, options.warm_start)
        progress.say(f"Warm start: {begun_with.words}.")
    layout, reference = _new_layout(network, dataset, loaded.definition, options, progress), None
    if loaded.definition.study.kl_band == "auto":
        reference = find_reference(loaded.definition, network, dataset, layout, say=progress.say, stop=stop)
    facts = _new_facts(loaded, dataset, layout, reference)
    earlier: tuple[EarlierTrial, ...] = ()
    if begun_with is not None:
        facts = replace(facts, warm_start=begun_with.words)
        earlier = begun_with.trials(facts.settle(loaded.definition))
    return StudyStorage.create(
        storage, place.name, definition=loaded.toml_for_any_folder(), facts=facts, earlier=earlier
    )


def _new_layout(
    network: Network, dataset: Dataset, definition: StudyDefinition, options: RunOptions, progress: Progress
) -> Layout:
    if options.slots is not None:
        layout = layout_of(options.slots, definition, side_by_side())
    else:
        share = _share(definition, options.workers)
        layout = auto_layout(network, dataset, share, threads=side_by_side(), say=progress.say)
    return replace(layout, within=threads_within())


def _share(definition: StudyDefinition, workers: int) -> StudyDefinition:
    """The definition with one worker's share of the budget: the sampler is to learn from all of their trials."""
    trials = -(-definition.study.trials // workers)
    return definition.model_copy(update={"study": definition.study.model_copy(update={"trials": trials})})


def _new_facts(loaded: LoadedDefinition, dataset: Dataset, layout: Layout, reference: Reference | None) -> StudyFacts:
    return StudyFacts(
        layout=layout,
        comparable=loaded.definition.fingerprint_parts(),
        folder=str(loaded.folder),
        data=DataFacts(
            rows=dataset.rows,
            shape=dataset.shape,
            scaling=dataset.scaling.words,
            fingerprint=dataset.fingerprint,
            warnings=dataset.warnings,
        ),
        provenance=provenance(),
        reference=reference,
    )


def _news(facts: StudyFacts, loaded: LoadedDefinition) -> dict[str, Any]:
    """The facts that this process finds otherwise; versions of earlier processes stay named where they differ."""
    now, before = provenance(), {name: value.split(EARLIER)[0] for name, value in facts.provenance.items()}
    named = {
        name: value if before.get(name, value) == value else f"{value}{EARLIER}{before[name]})"
        for name, value in now.items()
    }
    return {"provenance": facts.provenance if before == now else named, "folder": str(loaded.folder)}


def _agree(
    study: StudyStorage, definition: StudyDefinition, dataset: Dataset, options: RunOptions, place: Place
) -> None:
    """Check that what is asked for now may go on in a study that exists.

    Raises:
        StudyConflict: what makes trials comparable has changed; the message lists it.
    """
    facts = study.facts
    changed = differences(dict(facts.comparable), definition.fingerprint_parts())
    if facts.data.fingerprint != dataset.fingerprint:
        changed.append("data: the rows are not those that the study was trained on")
    if options.slots not in (None, facts.layout.slots):
        changed.append(f"slots: {facts.layout.slots}, now {options.slots}")
    if options.warm_start is not None and not facts.warm_start:
        changed.append("it exists already, and began without --warm-start")
    if changed:
        way_out = "--out another folder" if place.embedded else "--study another name"
        raise StudyConflict(
            f"study {study.name!r} in {place.folder if place.embedded else place.shown_url} was made under another "
            f"definition ({'; '.join(changed)}). Give {way_out} for a new study, or run the old definition to go on."
        )
