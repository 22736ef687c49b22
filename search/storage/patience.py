"""A storage that is waited for while its server is away."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from klsearch.search.stopping import Interrupted

# A server that is started again, a network that comes back or a disk that is cleared up is worth waiting for.
_PATIENCE_SECONDS = 600.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 4.0
_PASSING = (OperationalError, InterfaceError, PoolTimeoutError, OSError)


def make_patient(storage: BaseStorage, *, say: Callable[[str], None], stop: Callable[[], bool]) -> BaseStorage:
    """Wrap a storage so that each of its calls is tried again while it does not answer.

    Args:
        storage: which may go away.
        say: is told once when it goes away, and once when it is back.
        stop: whether to give up.

    Returns:
        A storage whose calls raise what they raise when ten minutes of trying did not help, and `Interrupted` if
        `stop` says so while it waits.
    """
    return cast(BaseStorage, _PatientStorage(storage, say=say, stop=stop))


class _PatientStorage:
    """Calls everything of a storage. No subclass: what Optuna adds to its storages would pass by it."""

    def __init__(self, storage: BaseStorage, *, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
        self._storage = storage
        self._say = say
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself looks for, before there is a storage when one is unpickled
            raise AttributeError(name)
        value = getattr(self._storage, name)
        return partial(self._call, value) if callable(value) else value

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A new row; if the answer to an earlier try was lost on its way, the row that this one made."""
        tries = 0

        def create() -> int:
            nonlocal tries
            tries += 1
            if tries > 1 and template_trial is not None:
                for trial in self._storage.get_all_trials(study_id, deepcopy=False, states=(template_trial.state,)):
                    if trial.user_attrs == template_trial.user_attrs:
                        return trial._trial_id
            return self._storage.create_new_trial(study_id, template_trial)

        return int(self._call(create))

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        went_away, wait = 0.0, _FIRST_WAIT_SECONDS
        while True:
            try:
                answer = function(*arguments, **named)
            except Exception as error:
                if not _may_pass(error):
                    raise
                if self._stop():
                    raise Interrupted from error
                if not went_away:
                    went_away = time.monotonic()
                    self._say(f"warning: the storage does not answer ({reason(error)}); waiting for it.")
                elif time.monotonic() - went_away > _PATIENCE_SECONDS:
                    raise StorageInternalError(f"gave up after {_PATIENCE_SECONDS:.0f} s") from error
            else:
                if went_away:
                    self._say(f"The storage answers again, after {time.monotonic() - went_away:.0f} s.")
                return answer
            self._pass(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    def _pass(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._stop():
                raise Interrupted
            time.sleep(0.05)


def _may_pass(error: Exception) -> bool:
    """Tell whether an error is one of a server, a network or a disk, which may be over soon."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, _PASSING)


def reason(error: Exception) -> str:
    """The first line of what went wrong. SQLAlchemy's and drivers' messages name host and user, never the password."""
    cause: BaseException = error
    while isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
        cause = cause.__cause__
    origin = getattr(cause, "orig", None) or cause
    return str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__
