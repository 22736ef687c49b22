"""Several workers on one study, started by joblib: processes of this machine, or those of a Dask cluster."""

import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import joblib
from optuna.trial import TrialState

from klsearch.search.running.options import RunOptions
from klsearch.search.running.versions import DECIDING, provenance
from klsearch.search.running.worker_process import Failure, Task, work, work_here
from klsearch.search.stopping import Interrupted
from klsearch.search.storage.place import Place
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import trial_label
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.forecast import Forecast, Stage
from klsearch.search.terminal.progress import Progress, banded
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.judging import best_so_far, ended_early, judge_training
from klsearch.search.trials.ladder import LadderTeller
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.errors import KlsearchError, UsageError
from klsearch.vae.host.machine import usable_cores
from klsearch.vae.training.devices.cards import count_cards
from klsearch.vae.training.devices.driver import cards_of_workers

_LOOK_SECONDS = 1.0
# The workers save, and end; a worker that is in the middle of compiling takes longest.
_GOODBYE_SECONDS = 30.0
_DEATHS = 3
_CARD_RESOURCE = "GPU"  # as people call it: `dask worker … --resources GPU=1`
_LOST_SECONDS = 10.0  # in which a connection may come back
_ADDRESS = re.compile(r"((tcp|tls)://)?([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}")
_EACH_WHEN_IT_ENDS: dict[str, Any] = {"batch_size": 1, "pre_dispatch": "all", "return_as": "generator_unordered"}


def search_with_workers(
    study: StudyStorage,
    definition: StudyDefinition,
    place: Place,
    options: RunOptions,
    *,
    progress: Progress,
    stop: Callable[[], bool],
    ahead: Sequence[Stage] = (),
) -> None:
    """Search a study with workers until its budget is met, or it is decided and that is enough.

    They end with this process, however that ends. When some are killed, all are started again and go on from their
    checkpoints.

    Args:
        study: in its storage.
        definition: of the study.
        place: where workers find the study.
        options: how many workers, and where they run.
        progress: is told what happens.
        stop: whether to stop now.
        ahead: what follows the search, for the time left.

    Raises:
        Interrupted: `stop` said so; the workers have saved what they had in training.
        KlsearchError: workers failed, and the budget is not met; or they were killed again and again.
    """
    budget = definition.study.trials
    overseer = _Overseer(study, definition, progress)
    if overseer.finished >= budget or overseer.is_over():
        return
    deaths = 0
    with _pool(options) as pool:
        count = pool.count
        progress.say(f"Searching with {count} worker{'' if count == 1 else 's'}…")
        best, unit = best_so_far(definition, study), definition.thresholds().kl_unit
        progress.begin("trials", done=overseer.finished, total=budget, best=best, kl_unit=unit)
        slots = count * study.facts.layout.slots
        overseer.begin_forecast(min(slots, study.facts.lag or slots), ahead)
        threads = None if options.scheduler else max(1, usable_cores() // count)
        function = work if options.scheduler else work_here
        # A scheduler passes tasks on in clear, and keeps them.
        sent = place.without_password() if options.scheduler else place
        task = Task(place=sent, starter=this_process(), threads=threads, within=study.facts.layout.within)
        # Those of a cluster see the cards that whoever started them gave them.
        cards = [None] * count if options.scheduler else cards_of_workers(count, count_cards())
        while overseer.finished < budget:
            finished = overseer.finished
            failures = overseer.oversee(
                lambda: pool.parallel(joblib.delayed(function)(replace(task, card=card)) for card in cards),
                pool=pool,
                stop=stop,
            )
            if failures is not None:
                if overseer.is_over():
                    return
                if failures and overseer.finished < budget:
                    raise KlsearchError(f"a worker failed: {failures[0].reason}", exit_code=failures[0].exit_code)
                continue
            deaths = deaths + 1 if overseer.finished == finished else 1
            if deaths == _DEATHS:
                raise KlsearchError(
                    "workers are killed again and again before any trial ends; is there too little memory? Give fewer "
                    "--workers, or fewer --slots to a new study."
                )
            progress.say("warning: a worker was killed; all are started again and go on from their checkpoints.")


def worker_count(options: RunOptions) -> int:
    """The number of workers that will search.

    Raises:
        UsageError: there is no Dask cluster where `options` say, or it is not as it must be.
    """
    if options.scheduler is None:
        return options.workers
    with _cluster(options.scheduler) as client:
        return len(_searching_workers(client))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Where workers run.

    Attributes:
        count: of workers.
        parallel: what starts that many.
        scheduler: the address of the Dask cluster's; None for processes of this machine.
        client: of that cluster.
    """

    count: int
    parallel: joblib.Parallel
    scheduler: str | None = None
    client: Any = None

    def is_reached(self) -> bool:
        """Tell whether workers can be heard of now."""
        return self.client is None or self.client.status == "running"


@contextmanager
def _pool(options: RunOptions) -> Iterator[_Pool]:
    if options.scheduler is None:
        count = options.workers
        yield _Pool(count=count, parallel=joblib.Parallel(n_jobs=count, backend="loky", **_EACH_WHEN_IT_ENDS))
        return
    with _cluster(options.scheduler) as client:
        count = len(_searching_workers(client))
        asked = {"resources": {_CARD_RESOURCE: 1}} if _workers_with_a_card(client) else {}
        with joblib.parallel_config(backend="dask", client=client, pure=False, **asked):
            parallel = joblib.Parallel(n_jobs=count, **_EACH_WHEN_IT_ENDS)
            yield _Pool(count=count, parallel=parallel, scheduler=options.scheduler, client=client)


@contextmanager
def _cluster(scheduler: str) -> Iterator[Any]:
    """A client of the Dask cluster with this scheduler, each of whose workers has one thread and these versions."""
    try:
        from distributed import Client  # an optional dependency
    except ImportError as error:
        raise UsageError(f"{error}; install klsearch[dask].") from error
    if not _ADDRESS.fullmatch(scheduler):
        raise UsageError(f"{scheduler!r} is not the address of a Dask scheduler; write it as tcp://HOST:PORT.")
    with _silent_dask():
        try:
            with warnings.catch_warnings():
                # Of Dask's own packages that differ; which of ours do is looked at below.
                warnings.simplefilter("ignore")
                client = _connect(Client, scheduler)
        except Exception as error:  # each way of talking to it has errors of its own
            raise UsageError(f"there is no Dask scheduler at {scheduler}; start one with `dask scheduler`.") from error
        try:
            cores = client.nthreads()
            if {cores[address] for address in _searching_workers(client)} != {1}:
                raise UsageError(
                    f"each worker of the Dask cluster at {scheduler} must have one thread, and there must be one; "
                    "start them with `dask worker ADDRESS --nthreads 1`."
                )
            _refuse_other_versions(client)
            yield client
        finally:
            with suppress(Exception):  # a scheduler that is gone need not be taken leave of
                client.close(timeout=2)


@contextmanager
def _silent_dask() -> Iterator[None]:
    """A block in which Dask logs nothing: what goes wrong is told in one line."""
    # Some of its parts have levels of their own.
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    before = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in before:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _connect(client_class: Any, scheduler: str) -> Any:
    """A client of Dask; one that fails half-way is closed here: else it waits and complains when it is forgotten."""
    client = client_class.__new__(client_class)
    try:
        client.__init__(scheduler, timeout=5, set_as_default=False)
    except BaseException:
        with suppress(Exception):
            client.close(timeout=1)
        client.status = "closed"
        raise
    return client


def _searching_workers(client: Any) -> list[str]:
    """The addresses of the workers that search: those that were started with a card, where any was, else all."""
    return _workers_with_a_card(client) or list(client.nthreads())


def _refuse_other_versions(client: Any) -> None:
    """Refuse workers whose trials would come out otherwise than here: the command would not be the same study again."""
    here = provenance()
    for address, there in client.run(provenance, workers=_searching_workers(client), on_error="return").items():
        if isinstance(there, Exception):
            raise UsageError(
                f"the Dask worker at {address} cannot run klsearch ({type(there).__name__}: {there}); install "
                f"klsearch[dask] {here['klsearch']} on every machine of the cluster."
            )
        other = [name for name in DECIDING if there[name] != here[name]]
        if other:
            have = " and ".join(f"{name} {there[name]} (here: {here[name]})" for name in other)
            raise UsageError(
                f"the Dask worker at {address} has {have}, and its trials would come out differently; install the same "
                "versions on every machine of the cluster."
            )


def _workers_with_a_card(client: Any) -> list[str]:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return [address for address, worker in workers.items() if worker["resources"].get(_CARD_RESOURCE, 0) >= 1]


class _SchedulerGone(KlsearchError):
    def __init__(self, pool: _Pool) -> None:
        super().__init__(
            f"the Dask scheduler at {pool.scheduler} went away, and its workers with it. What was trained is kept; "
            "start the cluster and give the same command again to go on."
        )


class _Overseer:
    """Tells of what the workers write into the storage, and lives for them."""

    def __init__(self, study: StudyStorage, definition: StudyDefinition, progress: Progress) -> None:
        self._study = study
        self._definition = definition
        self._progress = progress
        self._decider = Decider(study, definition)
        self._told = set(study.counted_numbers())
        self._ladder = LadderTeller(study, definition, progress.say)
        self._forecast = Forecast(definition.training.epochs)

    def begin_forecast(self, slots: int, ahead: Sequence[Stage]) -> None:
        """Reckon the time left with so many slots of all workers, and what follows the search."""
        left = self._decider.expect(self.finished) - self.finished
        self._forecast.begin(Stage(trainings=left, slots=slots), ahead)

    @property
    def finished(self) -> int:
        """The number of finished trials, as of the last look."""
        return len(self._told)

    def is_over(self) -> bool:
        """Tell whether the search is decided, and that is enough."""
        return self._decider.is_over()

    def oversee(
        self, start: Callable[[], Iterable[Failure | None]], *, pool: _Pool, stop: Callable[[], bool]
    ) -> list[Failure] | None:
        """The failures of the workers that `start` starts, each told when it is known; None if some were killed.

        Raises:
            Interrupted: `stop` said so.
            KlsearchError: the scheduler went away.
        """
        self._study.leases.say_alive(this_process(), {})
        back: list[Failure | None] = []
        broken: list[BaseException] = []

        def run() -> None:
            try:
                for outcome in start():
                    back.append(outcome)
            except BaseException as error:
                broken.append(error)

        warned, reached, count = 0, time.monotonic(), pool.count
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                if stop():
                    raise Interrupted
                self._look()
                reached = time.monotonic() if pool.is_reached() else reached
                if time.monotonic() - reached > _LOST_SECONDS:
                    raise _SchedulerGone(pool)
                known = len(back)
                for failure in filter(None, back[warned:known] if known < count else ()):
                    line = f"warning: a worker failed, {count - known} of {count} go on: {failure.reason}"
                    self._progress.say(line)
                warned = known
                self._study.leases.say_alive(this_process(), {}, left=self._forecast.left())
                thread.join(_LOOK_SECONDS)
        except (Interrupted, KeyboardInterrupt):
            self._study.leases.say_gone(this_process())
            thread.join(_GOODBYE_SECONDS)
            self._look()
            raise
        except _SchedulerGone:
            self._study.leases.say_gone(this_process())  # workers that still live end
            raise
        self._look()
        for error in broken:
            if isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker":
                return None
            if not pool.is_reached():
                raise _SchedulerGone(pool) from error
            raise error
        return [failure for failure in back if failure is not None]

    def _look(self) -> None:
        """Tell of what has changed since the last look."""
        for number in sorted(set(self._study.counted_numbers()) - self._told):
            self._told.add(number)
            row = self._study.row(number)
            if row.result is not None:
                ended, _ = judge_training(self._definition, trial_label(number), row.result)
                self._progress.count(ended if row.state is TrialState.COMPLETE else ended_early(ended))
                self._forecast.count()
                self._forecast.expect(self._decider.expect(self.finished) - self.finished)
        self._ladder.look()
        running = {row.number: row.progress for row in self._study.running_rows() if row.progress}
        self._forecast.look(running)
        self._progress.watch(banded(running, self._definition), self._forecast.left())
