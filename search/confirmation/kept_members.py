"""Confirmed members, kept until their confirmation is over: no storage holds weights."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import tensorflow as tf

from klsearch.search.storage.rows import Run
from klsearch.search.training.sealed import DamagedFile, open_sealed, set_aside, write_sealed
from klsearch.vae.evaluation.evaluator import Members


class KeptMembers:
    """Trained members by what was trained, each in a file, where the next process finds it; in memory if that fails.

    So a confirmation that was killed trains nothing again of what had finished, however often that happens.

    Args:
        folder: for their files.
        fingerprint: of what makes trainings comparable in the study.
        say: is told, once, when a file cannot be written, and of each that is damaged.
    """

    def __init__(self, folder: Path, fingerprint: str, *, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._say = say
        self._failed = False
        self._in_memory: dict[Run, Members] = {}  # those whose files could not be written

    def find(self, run: Run) -> Members | None:
        """The member that was trained so; None if there is none, or its file is damaged and set aside."""
        if run in self._in_memory:
            return self._in_memory[run]
        path = self._path(run)
        try:
            return _read(path)
        except DamagedFile:
            self._say(f"warning: {set_aside(path)}; its model is trained again.")
        except OSError:
            pass
        return None

    def keep(self, run: Run, member: Members) -> None:
        """Keep a member."""
        try:
            _write(self._path(run), member)
        except OSError as error:
            self._in_memory[run] = member
            if not self._failed:
                self._say(
                    f"warning: a trained model could not be kept ({self._folder}: {error.strerror}); it is trained "
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
    write_sealed(path, {"clip_low": member.clip_low, "clip_high": member.clip_high, **arrays})


def _read(path: Path) -> Members:
    with open_sealed(path) as arrays:
        return Members(
            weights=[tf.constant(arrays[name]) for name in sorted(arrays) if name.startswith("weights")],
            others=[tf.constant(arrays[name]) for name in sorted(arrays) if name.startswith("others")],
            clip_low=arrays["clip_low"],
            clip_high=arrays["clip_high"],
        )
