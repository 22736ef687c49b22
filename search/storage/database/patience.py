"""A storage that is waited for while its server is away, and told nothing twice when its answer was lost."""

import errno
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from klsearch.search.stopping import Interrupted

# A server that is started again, a network that comes back or a disk that is cleared up is worth waiting for.
_PATIENCE_SECONDS = 600.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 4.0
_PASSING = (OperationalError, InterfaceError, PoolTimeoutError, OSError)
# Of PostgreSQL: connection, deadlock, resources, lock, statement timeout and shutdown, system; read-only; silence.
_PASSING_STATES = ("08", "40", "53", "55P03", "57", "58", "25006", "25P03")
_PASSING_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
}
_PERMANENT_NUMBERS = {
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,  # of a pipe or a device in the place of a file
}

T = TypeVar("T")


class ServerAway(OSError):
    """A database that does not answer now; no error of SQLAlchemy's, for Optuna repeats what meets one, unchecked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a storage is waited for.

    Attributes:
        say: is told once when it goes away, and once when it is back.
        stop: whether to give up.
    """

    say: Callable[[str], None]
    stop: Callable[[], bool]

    def with_storage(self, storage: BaseStorage) -> BaseStorage:
        """A storage each of whose calls is tried again while this one does not answer, and done once.

        Its calls raise what they raise when ten minutes of trying did not help, and `Interrupted` if `stop` says so.
        """
        return cast(BaseStorage, _PatientStorage(storage, self))

    def call(self, function: Callable[[], T], *, passes: Callable[[Exception], bool] | None = None) -> T:
        """What a function returns, tried again while it meets what may pass, or what `passes` says of."""
        went_away, wait = 0.0, _FIRST_WAIT_SECONDS
        while True:
            try:
                answer = function()
            except Exception as error:
                if not (passes or may_pass)(error):
                    raise
                if self.stop():
                    raise Interrupted from error
                if not went_away:
                    went_away = time.monotonic()
                    self.say(f"warning: the storage does not answer ({reason(error)}); waiting for it.")
                elif time.monotonic() - went_away > _PATIENCE_SECONDS:
                    raise StorageInternalError(f"gave up after {_PATIENCE_SECONDS:.0f} s") from error
            else:
                if went_away:
                    self.say(f"The storage answers again, after {time.monotonic() - went_away:.0f} s.")
                return answer
            self._pass(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    def _pass(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.stop():
                raise Interrupted
            time.sleep(0.05)


class _PatientStorage:
    """Calls everything of a storage. No subclass: what Optuna adds to its storages would pass by it.

    Where a call that is repeated would not do the same again, the first try after an answer was lost looks whether it
    was done.
    """

    def __init__(self, storage: BaseStorage, patience: Patience) -> None:
        self._storage = storage
        self.patience = patience

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself looks for, before there is a storage when one is unpickled
            raise AttributeError(name)
        value = getattr(self._storage, name)
        return partial(self._call, value) if callable(value) else value

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self.patience.call(partial(function, *arguments, **named))

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """A new study. An empty one of that name that appeared while an answer was lost is made anew.

        It is this process's own or, hardly ever, of another one that is about to write its first attribute: that one
        then finds its study gone, and looks who made it.
        """
        make = partial(self._storage.create_new_study, directions, study_name)

        def make_anew() -> int:
            with suppress(DuplicatedStudyError):
                return make()
            assert study_name is not None
            study_id = self._storage.get_study_id_from_name(study_name)
            if not is_empty(self._storage, study_id):
                raise DuplicatedStudyError
            with suppress(KeyError):
                self._storage.delete_study(study_id)
            return make()

        return self.patience.call(_first_then(make, make_anew))

    def delete_study(self, study_id: int) -> None:
        """Delete a study; one that is gone when its answer was lost is deleted."""

        def delete_again() -> None:
            with suppress(KeyError):
                self._storage.delete_study(study_id)

        self.patience.call(_first_then(partial(self._storage.delete_study, study_id), delete_again))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A new row; if the answer to an earlier try was lost, the row that it made: its first attribute tells it."""
        make = partial(self._storage.create_new_trial, study_id, template_trial)

        def find_or_make() -> int:
            if template_trial is not None and template_trial.user_attrs:
                settle(self._storage, study_id)
                key, value = next(iter(template_trial.user_attrs.items()))
                for trial in self._storage.get_all_trials(study_id, deepcopy=False):
                    if trial.user_attrs.get(key) == value:
                        return trial._trial_id
            return make()

        return self.patience.call(_first_then(make, find_or_make))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Change a row's state; a row that has the state when an answer was lost was changed."""
        change = partial(self._storage.set_trial_state_values, trial_id, state, values)

        def change_again() -> bool:
            try:
                return change()
            except UpdateFinishedTrialError:
                trial = self._storage.get_trial(trial_id)
                if trial.state is state and (values is None or list(values) == trial.values):
                    return True
                raise

        return self.patience.call(_first_then(change, change_again))


def _first_then(first: Callable[[], T], then: Callable[[], T]) -> Callable[[], T]:
    """A function that is `first` when it is called first, and `then` afterwards."""
    functions = iter([first])
    return lambda: next(functions, then)()


def call_patiently(storage: BaseStorage, first: Callable[[], T], then: Callable[[], T]) -> T:
    """Call a function that uses a storage's engine, with the storage's patience if it has any.

    Args:
        storage: as `open_storage` gives it.
        first: what is called.
        then: what is called when it did not answer: it looks whether it was done.
    """
    if isinstance(storage, _PatientStorage):
        return storage.patience.call(_first_then(first, then))
    return first()


def is_empty(storage: BaseStorage, study_id: int) -> bool:
    """Tell whether a study has neither attributes nor rows: one that was cut off in the making."""
    return not storage.get_study_user_attrs(study_id) and not storage.get_all_trials(study_id, deepcopy=False)


def engine_of(storage: BaseStorage) -> Engine | None:
    """The engine of a storage in PostgreSQL; None for others."""
    database = getattr(storage, "_backend", None)  # behind Optuna's cache of closed rows
    return database.engine if isinstance(database, RDBStorage) and database.engine.name == "postgresql" else None


def settle(storage: BaseStorage, study_id: int) -> None:
    """Wait until a row that is being made in a study is made or not: a server may go on after its connection is lost.

    Optuna holds the study's own row while it makes one.
    """
    if (engine := engine_of(storage)) is not None:
        with engine.begin() as connection:
            connection.execute(text("SELECT study_id FROM studies WHERE study_id = :id FOR UPDATE"), {"id": study_id})


def may_pass(error: BaseException) -> bool:
    """Tell whether an error is one of a server, a network or a disk, which may be over soon."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    origin = getattr(cause, "orig", None) or cause
    if state := getattr(origin, "sqlstate", None):
        return str(state).startswith(_PASSING_STATES)
    if (code := getattr(origin, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _PASSING_CODES  # without what SQLite adds
    return isinstance(cause, _PASSING) and getattr(cause, "errno", None) not in _PERMANENT_NUMBERS


def is_crowded(error: Exception) -> bool:
    """Tell whether a server answered, but has no connection to give now: it is full, or just starting.

    A connection that is refused comes without the server's code; its words are those of an English server.
    """
    words = ("too many connections", "too many clients", "connection slots are reserved", "the database system is ")
    return isinstance(error, OperationalError) and any(one in str(error) for one in words)


def reason(error: Exception) -> str:
    """The first line of what went wrong. SQLAlchemy's and drivers' messages name host and user, never the password."""
    cause: BaseException = error
    while isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
        cause = cause.__cause__
    origin = getattr(cause, "orig", None) or cause
    if isinstance(origin, OSError) and origin.strerror:
        return origin.strerror
    return str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__
