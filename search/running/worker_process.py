"""The process of a started worker: it searches one study until the budget is met or whoever started it is gone.

Nothing heavy is loaded with this module: TensorFlow reads its settings when it is loaded, and signals must be answered
from the first moment.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from klsearch.search.stopping import Interrupted, Stopper
from klsearch.search.storage.place import Place
from klsearch.search.storage.process import Owner
from klsearch.studies.errors import KlsearchError
from klsearch.vae.training.devices.driver import VISIBLE

_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The task that a worker is given; it finds everything else in the storage.

    Attributes:
        place: the run folder and the storage.
        starter: who started it, and whose end ends it.
        threads: how many operations TensorFlow may run at a time; None for one on each core.
        within: how many threads share the work within an operation.
        card: the card that it has to itself, as CUDA_VISIBLE_DEVICES names it; None to leave it those that it sees.
    """

    place: Place
    starter: Owner
    threads: int | None
    within: int
    card: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The reason why a worker could not go on; an error itself might not survive the way back.

    Attributes:
        reason: what went wrong.
        exit_code: for that.
    """

    reason: str
    exit_code: int


def work(task: Task) -> Failure | None:
    """Search; None when the budget is met or the starter is gone."""
    stopper = Stopper()
    try:
        with stopper.listen():
            _search(task, stopper)
    except (Interrupted, KeyboardInterrupt):
        pass
    except KlsearchError as error:
        return Failure(reason="; ".join(error.lines), exit_code=error.exit_code)
    except Exception as error:  # a scheduler's log would show the whole call
        from klsearch.vae.host.own_code import one_line

        return Failure(reason=one_line(error), exit_code=KlsearchError.exit_code)
    return None


def work_here(task: Task) -> Failure | None:
    """The same in a process of its own on the starter's machine, which does not outlive the starter."""
    outcome = work(task)
    if task.starter.is_known_dead():
        os._exit(1)  # the pool that it belongs to would keep it for its next task
    return outcome


def _search(task: Task, stopper: Stopper) -> None:
    if task.card is not None:
        os.environ[VISIBLE] = task.card  # which is read when TensorFlow looks for cards

    from klsearch.search.training.tensorflow import load_tensorflow, take_this_process

    take_this_process()
    load_tensorflow(task.threads, within=task.within)

    from klsearch.search.running.session import open_session
    from klsearch.search.storage.database.patience import Patience
    from klsearch.search.storage.opening import open_storage
    from klsearch.search.storage.records import definition_of
    from klsearch.search.storage.study import StudyStorage
    from klsearch.search.terminal.progress import WarningLines
    from klsearch.search.training.assignment import Assignment
    from klsearch.search.training.device_faults import tell_device_faults
    from klsearch.search.training.models import build_network, build_population
    from klsearch.search.training.own_faults import tell_own_faults
    from klsearch.search.trials.score import scoring_of
    from klsearch.studies.definitions.data import load_data
    from klsearch.vae.training.devices.cards import repeatable

    progress, place = WarningLines(sys.stderr), task.place.with_own_password()
    with open_storage(place.url, create=False, patience=Patience(say=progress.say, stop=stopper)) as storage:
        study = StudyStorage.load(storage, place.name)
        loaded = definition_of(study)
        dataset = load_data(loaded.definition, loaded.folder)
        if dataset.fingerprint != study.facts.data.fingerprint:
            raise KlsearchError(f"{loaded.definition.data.source} holds other rows here than where the study was made.")
        if study.facts.scoring != scoring_of(loaded.definition):
            raise KlsearchError("the klsearch here scores trials otherwise than where the study was made.")
        definition = study.facts.settle(loaded.definition)
        deterministic = definition.training.deterministic
        with repeatable(deterministic), tell_own_faults(definition.model), tell_device_faults():
            network = build_network(definition, dataset, loaded.folder)
            assignment = Assignment(
                study=study,
                definition=definition,
                population=build_population(definition, network, dataset, study.facts.layout),
                alone=False,
            )
            stop = _stop_when(stopper, lambda: study.leases.is_dead(task.starter))
            with open_session(assignment, place, progress=progress, stopper=stopper, stop=stop) as session:
                session.search()


def _stop_when(stopper: Stopper, is_over: Callable[[], bool]) -> Callable[[], bool]:
    """A function that tells to stop when a signal came or `is_over`, which is looked at once a second."""
    looked, over = -_LOOK_SECONDS, False

    def stop() -> bool:
        nonlocal looked, over
        if not over and time.monotonic() - looked >= _LOOK_SECONDS:
            over, looked = is_over(), time.monotonic()
        return over or stopper()

    return stop
