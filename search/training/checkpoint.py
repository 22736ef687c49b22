"""Checkpoints: what lets a worker's course go on after its process was killed.

A course is what one worker does to a study: a deterministic program that outlives the process that follows it. Its
checkpoint lies in the run folder, in a file of its own beside a lock that the system releases when the process ends.
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from klsearch.search.training.sealed import DamagedFile, open_sealed, set_aside, write_sealed
from klsearch.studies.files import remove_unfinished
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.training.plan import Clock
from klsearch.vae.training.snapshot import MemberState, Snapshot

FORMAT = 2  # 1, of the first release, had no seal
# Nothing is trained twice beyond this, whenever a process is killed.
LONGEST_SECONDS = 30.0
_SHORTEST_SECONDS = 1.0
_SHARE = 0.01  # of the time goes into checkpoints, where they take little enough to be written more often


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A worker between two graph calls.

    Attributes:
        study: the study whose rows it trains: that of the search, or that of its confirmation.
        fingerprint: of what makes trials comparable in that study.
        position: the highest number that the course has asked for; -1 before.
        numbers: row number by slot.
        snapshot: the members in those slots.
    """

    study: str
    fingerprint: str
    position: int
    numbers: Mapping[int, int]
    snapshot: Snapshot

    def write(self, path: Path) -> None:
        """Write it as a sealed file of arrays, in one step.

        Raises:
            OSError: the folder cannot be written; the checkpoint before is intact.
        """
        about = {
            "format": FORMAT,
            "study": self.study,
            "fingerprint": self.fingerprint,
            "position": self.position,
            "batch": self.snapshot.batch,
            "members": [
                {
                    "slot": slot,
                    "number": self.numbers[slot],
                    "hyperparameters": member.clock.hyperparameters.as_json(),
                    "seed": member.clock.seed,
                    "epoch": member.clock.epoch,
                    "seconds": member.seconds,
                }
                for slot, member in self.snapshot.members.items()
            ],
        }
        members = list(self.snapshot.members.values())
        arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
        if members:
            arrays["steps"] = np.stack([member.steps for member in members])
            arrays |= {f"curves{index}": member.curves for index, member in enumerate(members)}
            arrays |= {
                f"values{index}": np.stack(values)
                for index, values in enumerate(zip(*(member.values for member in members), strict=True))
            }
        write_sealed(path, arrays)

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """The checkpoint that `write` wrote.

        Raises:
            DamagedFile: the file is damaged, or of something else.
            UnreadableCheckpoint: it is of a newer klsearch, or cannot be read.
        """
        with _open(path) as (about, arrays):
            members = about["members"]
            values = [arrays[f"values{index}"] for index in range(sum(name.startswith("values") for name in arrays))]
            return cls(
                study=about["study"],
                fingerprint=about["fingerprint"],
                position=about["position"],
                numbers={member["slot"]: member["number"] for member in members},
                snapshot=Snapshot(
                    batch=about["batch"],
                    members={
                        member["slot"]: _member(member, index, arrays, values) for index, member in enumerate(members)
                    },
                ),
            )


class UnreadableCheckpoint(Exception):
    """A checkpoint that may be whole cannot be read; the message says which and why."""


def _member(
    about: Mapping[str, Any], index: int, arrays: Mapping[str, np.ndarray], values: list[np.ndarray]
) -> MemberState:
    return MemberState(
        clock=Clock(
            hyperparameters=Hyperparameters.from_json(about["hyperparameters"]),
            seed=about["seed"],
            epoch=about["epoch"],
        ),
        seconds=about["seconds"],
        curves=arrays[f"curves{index}"],
        steps=arrays["steps"][index],
        values=[value[index] for value in values],
    )


@contextmanager
def _open(path: Path) -> Iterator[tuple[dict[str, Any], Mapping[str, np.ndarray]]]:
    """Open a checkpoint: what it says of itself, and its arrays, which are read when they are asked for."""
    try:
        with open_sealed(path) as arrays:
            about = json.loads(arrays["about"].tobytes())
            if about["format"] > FORMAT:
                raise UnreadableCheckpoint(f"{path} was written by a newer klsearch; upgrade klsearch to go on from it")
            yield about, arrays
    except OSError as error:
        raise UnreadableCheckpoint(f"{path} cannot be read ({error.strerror})") from error


class Course:
    """One worker's course through a study, claimed for this process.

    Args:
        folder: where the courses of this study are kept.
        name: of the course.
        fingerprint: of the study.
        say: is told when a checkpoint cannot be written or read.
    """

    def __init__(self, folder: Path, name: str, fingerprint: str, *, say: Callable[[str], None]) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self._path = folder / f"{name}.npz"
        self._say = say
        self._saved_at = -LONGEST_SECONDS  # none yet: one is due at once
        self._interval = 0.0
        self._failed = False

    def is_due(self, *, between_epochs: bool) -> bool:
        """Tell whether to write a checkpoint now.

        Between epochs as often as that takes about a hundredth of the time, and at least every half minute; in the
        middle of an epoch, from where only a whole population can go on, only when half a minute is over.
        """
        return time.monotonic() - self._saved_at >= (self._interval if between_epochs else LONGEST_SECONDS)

    def save(self, checkpoint: Checkpoint, *, taken_in: float = 0.0) -> None:
        """Write a checkpoint; where that fails, say so once, keep the one before and go on.

        Args:
            checkpoint: of this course.
            taken_in: seconds that taking it cost, which count like those of writing it.
        """
        began = time.monotonic() - taken_in
        try:
            checkpoint.write(self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._say(
                    f"warning: no checkpoint could be written ({self._path.parent}: {error.strerror}); training goes "
                    "on, but what is trained from now on is lost if the process is killed."
                )
            self._failed = True
        self._saved_at = time.monotonic()
        spent = self._saved_at - began
        self._interval = min(LONGEST_SECONDS, max(_SHORTEST_SECONDS, spent / _SHARE))

    def is_under_way(self) -> bool:
        """Tell whether the course has a checkpoint, which may be of any study."""
        return self._path.exists()

    def load(self, study: str) -> Checkpoint | None:
        """The course's checkpoint, if it has one of this study."""
        if not self._path.exists():
            return None
        try:
            checkpoint = Checkpoint.read(self._path)
        except DamagedFile:
            self._say(f"warning: {set_aside(self._path)}; its trials are trained again from their start.")
            return None
        except UnreadableCheckpoint as error:
            self._say(f"warning: {error}; its trials are trained again from their start.")
            return None
        if checkpoint.study != study:
            return None
        self._saved_at = time.monotonic()
        return checkpoint

    def clear(self) -> None:
        """Remove the checkpoint: nothing of the course is in training any more."""
        with suppress(OSError):  # whoever finds it sees that what it trained has ended
            self._path.unlink()
        self._saved_at = -LONGEST_SECONDS

    def find_stranded(self, study: str, number: int) -> MemberState | None:
        """Find where a row's member stood in another course's last checkpoint, if another population can take it in.

        It can when that was between two epochs.
        """
        for path in sorted(self._path.parent.glob("*.npz")):
            if path == self._path:
                continue
            try:
                with _open(path) as (about, _):
                    is_there = number in [member["number"] for member in about["members"]]
                    is_ours = about["study"] == study and about["fingerprint"] == self.fingerprint
                    if about["batch"] or not (is_ours and is_there):
                        continue
                checkpoint = Checkpoint.read(path)
            except DamagedFile:
                _set_left_one_aside(path, self._say)
                continue
            except UnreadableCheckpoint:
                continue
            slots = {held: slot for slot, held in checkpoint.numbers.items()}
            return checkpoint.snapshot.members[slots[number]]
        return None


@contextmanager
def claim_course(folder: Path, fingerprint: str, *, say: Callable[[str], None]) -> Iterator[Course]:
    """Claim a course whose process is gone, or a new one if there is none, for this process while the block lasts.

    Args:
        folder: where the courses of this study are kept.
        fingerprint: of the study; files of others are left as they are.
        say: is told of a checkpoint that cannot be written or read.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    with ExitStack() as claims:
        for path in sorted(folder.glob("*.npz")):
            try:
                is_ours = _fingerprint(path) == fingerprint
            except DamagedFile:
                _set_left_one_aside(path, say)
                continue
            except UnreadableCheckpoint as error:
                say(f"warning: {error}; its trials are trained again from their start.")
                continue
            if is_ours and claims.enter_context(_lock(path)) and path.exists():
                yield Course(folder, path.stem, fingerprint, say=say)
                return
        path = folder / f"{secrets.token_hex(4)}.npz"
        claims.enter_context(_lock(path))
        yield Course(folder, path.stem, fingerprint, say=say)


def remove_left_courses(folder: Path, fingerprint: str) -> None:
    """Remove the checkpoints that no process follows: their study is done. Files of others are left as they are."""
    for path in folder.glob("*.npz"):
        with suppress(UnreadableCheckpoint, DamagedFile):
            if _fingerprint(path) == fingerprint:
                with _lock(path) as is_free:
                    if is_free:
                        path.unlink(missing_ok=True)
    for lock in folder.glob("*.lock"):  # of processes that were killed before their first checkpoint
        if not lock.with_suffix(".npz").exists():
            with _lock(lock):
                pass
    with suppress(OSError):  # not empty
        folder.rmdir()


def _set_left_one_aside(path: Path, say: Callable[[str], None]) -> None:
    """Set a damaged checkpoint aside that no process follows; whoever follows one writes it anew."""
    with _lock(path) as is_free:
        if is_free and path.exists():
            say(f"warning: {set_aside(path)}; its trials are trained again from their start.")


def _fingerprint(path: Path) -> str:
    with _open(path) as (about, _):
        return str(about["fingerprint"])


@contextmanager
def _lock(course: Path) -> Iterator[bool]:
    """Lock a course until the block ends or the process does; gives whether this process alone has it."""
    path = course.with_suffix(".lock")
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            has_it = path.stat().st_ino == os.fstat(file.fileno()).st_ino  # not a file that was just removed
        except OSError:
            has_it = False
        try:
            yield has_it
        finally:
            if has_it:
                with suppress(OSError):  # on a disk that is read-only by now: it is free all the same
                    path.unlink()
