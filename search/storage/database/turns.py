"""Turns: what only one process of a study may do at a time, kept by the study's own storage.

PostgreSQL has locks, which keep short turns (`LockTurns`). All else is kept by a queue (`Turns`): Optuna has no lock,
but its storages number the rows of a study in the order in which they come, each number once, and close a row once.
So a process enters the queue by creating a row that names it, in one piece, in a study of its own; it has the turn
when no row before its own is running; and it leaves by closing its row. Rows of processes that died or fell silent
are closed by those behind them.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from klsearch.search.storage.database.patience import ServerAway, call_patiently
from klsearch.search.storage.process import Owner

_OWNER = "klsearch:owner"
_TOKEN = "klsearch:token"  # by which whoever lost the answer finds that it was made
_WAIT_SECONDS = 0.05
_LOCK = 0x6B6C  # "kl": the first of an advisory lock's two numbers; the second is the study's id
_LOCK_WAIT_MS = 1000  # then the process looks whether it is to stop
_NO_LOCK_IN_TIME = "55P03"


class Turns:
    """A queue of processes; first come, first served.

    Args:
        storage: where it is kept.
        name: of the study that holds it.
        is_dead: whether another process no longer lives.
    """

    def __init__(self, storage: BaseStorage, name: str, *, is_dead: Callable[[Owner], bool]) -> None:
        self._storage = storage
        self._is_dead = is_dead
        try:
            self._study_id = storage.get_study_id_from_name(name)
        except KeyError:
            with suppress(DuplicatedStudyError):  # another process was faster
                storage.create_new_study([StudyDirection.MINIMIZE], name)
            self._study_id = storage.get_study_id_from_name(name)

    @contextmanager
    def turn(self, owner: Owner, *, wait: Callable[[float], None]) -> Iterator[None]:
        """A block that no other process runs at the same time.

        A process that falls silent within its turn for longer than its lease loses it without being told: what it
        writes must not depend on the turn alone.

        Args:
            owner: this process; it takes one turn at a time.
            wait: is called with a time in seconds, to pass it; may raise to leave the queue.
        """
        place = self._enter(owner)
        try:
            while True:
                queue = self._queue()
                places = [trial._trial_id for trial in queue]
                if place not in places:
                    place = self._enter(owner)  # others took this process for dead while it waited
                elif place == places[0]:
                    break
                elif self._is_gone(queue[0], owner):
                    self._close(places[0])
                else:
                    wait(_WAIT_SECONDS * places.index(place))
            yield
        finally:
            self._close(place)

    def _enter(self, owner: Owner) -> int:
        attributes = {_TOKEN: secrets.token_hex(8), _OWNER: owner.as_json()}
        row = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
        return self._storage.create_new_trial(self._study_id, template_trial=row)

    def _queue(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False, states=(TrialState.RUNNING,))

    def _is_gone(self, first: FrozenTrial, owner: Owner) -> bool:
        """Tell whether the first in the queue is a dead process, or a place that this one left behind."""
        other = Owner.from_json(first.user_attrs[_OWNER])
        return other == owner or self._is_dead(other)

    def _close(self, place: int) -> None:
        with suppress(UpdateFinishedTrialError):  # it was taken for dead
            self._storage.set_trial_state_values(place, TrialState.FAIL)


class LockTurns:
    """Turns by an advisory lock of PostgreSQL, which wakes whoever is next: nobody asks again and again.

    The lock belongs to a transaction of its own and ends with it: with the block, with the process, with its
    connection. The server ends it too when the block was silent for a lease, whatever became of the process, so that
    one that was suspended, or whose machine was switched off, holds nobody up.

    Args:
        storage: where it is kept.
        engine: of that storage.
        study_id: the study's, in it.
        lease: the longest time in seconds that a turn may last.
    """

    def __init__(self, storage: BaseStorage, engine: Engine, study_id: int, *, lease: float) -> None:
        self._storage = storage
        self._engine = engine
        self._study_id = study_id
        self._lease_ms = round(1000 * lease)

    @contextmanager
    def turn(self, owner: Owner, *, wait: Callable[[float], None]) -> Iterator[None]:
        """A block that no other process runs at the same time; see `Turns.turn`."""
        del owner  # the connection is
        while (connection := call_patiently(self._storage, self._enter, self._enter)) is None:
            wait(0.0)
        try:
            yield
        finally:
            with suppress(ServerAway, SQLAlchemyError):  # the turn was over before: whatever lost it, the lock is free
                connection.close()

    def _enter(self) -> Connection | None:
        """A connection that holds the lock; None if others held it for too long."""
        connection = self._engine.connect()
        try:
            connection.exec_driver_sql(
                f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}; SET LOCAL statement_timeout = 0; "
                f"SET LOCAL idle_in_transaction_session_timeout = {self._lease_ms}"
            )
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK}, {self._study_id})")
        except BaseException as error:
            connection.close()
            if getattr(error.__cause__, "sqlstate", None) == _NO_LOCK_IN_TIME:
                return None
            raise
        return connection
