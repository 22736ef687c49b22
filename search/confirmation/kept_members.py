"""Confirmed members, kept until their confirmation is over: no storage holds weights."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import tensorflow as tf

from klsearch.search.storage.rows import Run
from klsearch.studies.files import open_to_replace
from klsearch.vae.evaluation.evaluator import Members

# What reading a file that holds no member, or not a whole one, may raise.
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


class KeptMembers:
    """Trained members by what was trained, each in a file, where the next process finds it; in memory if that fails.

    So a confirmation that was killed trains nothing again of what had finished, however often that happens.

    Args:
        folder: for their files.
        fingerprint: of what makes trainings comparable in the study.
        say: is told, once, when a file cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: str, *, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._say = say
        self._failed = False
        self._in_memory: dict[Run, Members] = {}  # those whose files could not be written

    def find(self, run: Run) -> Members | None:
        """The member that was trained so; None if there is none, or its file cannot be read."""
        if run in self._in_memory:
            return self._in_memory[run]
        try:
            return _read(self._path(run))
        except _UNREADABLE:
            return None

    def keep(self, run: Run, member: Members) -> None:
        """Keep a member."""
        try:
            _write(self._path(run), member)
        except OSError as error:
            self._in_memory[run] = member
            if not self._failed:
                self._say(
                    f"warning: a trained member could not be kept ({self._folder}: {error.strerror}); it is trained "
                    "again if the process is killed before the winner is known."
                )
            self._failed = True

    def remove_files(self) -> None:
        """The confirmation is over, and nobody will ask for its members."""
        for path in self._folder.glob("*.npz"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not there, or not empty
            self._folder.rmdir()

    def _path(self, run: Run) -> Path:
        identity = json.dumps([self._fingerprint, run.as_json()], sort_keys=True)
        return self._folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.npz"


def _write(path: Path, member: Members) -> None:
    arrays = {f"weights{index:04}": np.asarray(values) for index, values in enumerate(member.weights)}
    arrays |= {f"others{index:04}": np.asarray(values) for index, values in enumerate(member.others)}
    with open_to_replace(path) as file:
        np.savez(file, allow_pickle=False, clip_low=member.clip_low, clip_high=member.clip_high, **arrays)


def _read(path: Path) -> Members:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Members(
            weights=[tf.constant(arrays[name]) for name in sorted(arrays) if name.startswith("weights")],
            others=[tf.constant(arrays[name]) for name in sorted(arrays) if name.startswith("others")],
            clip_low=arrays["clip_low"],
            clip_high=arrays["clip_high"],
        )
