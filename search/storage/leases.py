"""Leases of a study's workers: each says now and then that it lives, with the progress of its trials."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klsearch.search.storage.encoding import decoding
from klsearch.search.storage.process import Owner

if TYPE_CHECKING:  # what only prints shall not wait for it
    from optuna.storages import BaseStorage

# A worker says that it lives far more often; one of another machine that was silent for so long is dead.
LEASE_SECONDS = 60.0
# Clocks of machines differ by less, as a rule.
_LONG_SILENCE_SECONDS = 900.0
_LONGEST_STEP_SECONDS = 5 * LEASE_SECONDS
_GONE = 0.0  # what a worker says when it leaves, in place of a time
_PREFIX = "klsearch:worker:"  # + owner: what it said last


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What is known of the processes that work on a study.

    Attributes:
        is_worked_on: whether there is any.
        left: seconds until all is done, as it forecasts; None where that is not known.
    """

    is_worked_on: bool
    left: float | None = None


class Leases:
    """The leases of one study's workers, among the study's attributes.

    Args:
        storage: an open Optuna storage.
        study_id: the study's, in it.
    """

    def __init__(self, storage: "BaseStorage", study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self._read: dict[str, Any] | None = None  # within `reading`
        self._heard: dict[str, tuple[str | None, float]] = {}  # by worker: what it said last, and when that was read

    def say_alive(
        self,
        owner: Owner,
        progress: Mapping[int, Mapping[str, float]],
        *,
        left: float | None = None,
        searches: bool = False,
    ) -> None:
        """Renew a worker's lease.

        Args:
            owner: who it is.
            progress: the latest epoch of each of its trainings, by number.
            left: seconds until all is done, as it forecasts.
            searches: whether it takes trials of the search, of which each that does so leaves the others their share.
        """
        # The time is for people. That something was said is told by the beat, on whose clock nothing else depends.
        said = {
            "at": time.time(),
            "beat": time.monotonic_ns(),
            "progress": {str(k): dict(v) for k, v in progress.items()},
            "left": left,
            "searches": searches,
        }
        self._storage.set_study_user_attr(self._study_id, _key(owner), json.dumps(said))

    def say_gone(self, owner: Owner) -> None:
        """End a worker's lease."""
        self._storage.set_study_user_attr(self._study_id, _key(owner), json.dumps({"at": _GONE, "progress": {}}))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A block in which the leases are read once, however many workers are asked for."""
        if self._read is not None:  # within another such block
            yield
            return
        self._read = self._storage.get_study_user_attrs(self._study_id)
        try:
            yield
        finally:
            self._read = None

    def is_dead(self, owner: Owner, *, silent: float = LEASE_SECONDS) -> bool:
        """Tell whether a worker no longer trains: it said so, its process is gone, or its lease ran out in silence.

        Of a process on this machine the system knows; it may be silent: one step of a large model can outlast the
        lease. Silence of others is measured on this process's own clock, which nobody sets, from when it last heard
        anything new: whatever clocks of other machines show, and however they jump.
        """
        key = _key(owner)
        said = self._attributes().get(key)
        if said is not None and _decode(said)["at"] == _GONE:
            return True
        if owner.is_known_dead():
            return True
        if owner.is_known_alive():
            return False
        now = time.monotonic()
        if self._heard.setdefault(key, (said, now))[0] != said:
            self._heard[key] = said, now
        return now - self._heard[key][1] > silent

    def is_worked_on(self) -> bool:
        """Tell whether any worker lives, so far as this process can know by now."""
        with self.reading():
            return bool(self._living())

    def count_searching(self) -> int:
        """Count the workers that live and search, so far as this process can know by now."""
        with self.reading():
            said = {_owner(key): text for key, text in self._attributes().items() if key.startswith(_PREFIX)}
            searching = [owner for owner, text in said.items() if _decode(text)["searches"]]
            # One that compiles says nothing for as long: others would lay their slots out for its part, and back again.
            return sum(not self.is_dead(owner, silent=_LONGEST_STEP_SECONDS) for owner in searching)

    def activity(self) -> Activity:
        """What the living workers tell: of the time left the one that spoke last.

        Whoever asks once cannot watch for silence. One of another machine whose last word is long past, as clocks of
        machines go, is therefore told as gone: people are told so, no worker goes by it.
        """
        with self.reading():
            attributes = self._attributes()
            said = {owner: _decode(attributes[_key(owner)]) for owner in self._living()}
        now = time.time()
        spoke = [
            one for owner, one in said.items() if owner.is_known_alive() or now - one["at"] < _LONG_SILENCE_SECONDS
        ]
        known = [(one["at"], one["left"]) for one in spoke if one["left"] is not None]
        if not known:
            return Activity(is_worked_on=bool(spoke))
        at, left = max(known)
        return Activity(is_worked_on=True, left=max(0.0, left - max(0.0, now - at)))

    def _living(self) -> list[Owner]:
        workers = [_owner(key) for key in self._attributes() if key.startswith(_PREFIX)]
        return [owner for owner in workers if not self.is_dead(owner)]

    def _attributes(self) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(self._study_id) if self._read is None else self._read


def progress_of_workers(attributes: Mapping[str, Any]) -> dict[Owner, dict[str, dict[str, float]]]:
    """The latest progress that every worker reported, by the trial's number, from the attributes of a study."""
    return {_owner(key): _decode(text)["progress"] for key, text in attributes.items() if key.startswith(_PREFIX)}


def _decode(text: str) -> dict[str, Any]:
    """What a worker said, of which the first release said less."""
    with decoding("what a worker said last"):
        said = json.loads(text)
        progress = {
            number: {name: float(value) for name, value in values.items()}
            for number, values in said["progress"].items()
        }
        left = said.get("left")
        return {
            "at": float(said["at"]),
            "progress": progress,
            "left": None if left is None else float(left),
            "searches": bool(said.get("searches", False)),
        }


def _key(owner: Owner) -> str:
    return f"{_PREFIX}{owner.host}:{owner.boot}:{owner.process}:{owner.started}"


def _owner(key: str) -> Owner:
    """The owner whose key `_key` made."""
    with decoding("the name of a worker"):
        host, boot, process, started = key.removeprefix(_PREFIX).split(":", 3)
        return Owner(host=host, boot=boot, process=int(process), started=started)
