"""A machine loses its power in the middle of a study: of every file what had been flushed to the disk is left."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process

# Against hanging: how fast a machine trains is not what is tested.
LONGEST_SECONDS = 900

# Before the command: after everything that reaches the disk, what a machine without power would find there is copied.
# Names are as they are: file systems bring them to the disk in order, with the next file that is flushed at the latest.
#
# SQLite flushes its log before it copies pages into the database, and nothing else: what the log holds beyond those is
# lost from any place on. Where the pages end is in the index beside it (sqlite.org/walformat.html, "WAL-Index Format"):
# bytes 14 and 16 are the size of a page and the number of frames, 128 the frames that may be in the database already.
# A transaction that nobody ends keeps both files as they are while they are copied.
COPYING = """
import json, os, random, sqlite3, struct, time
from contextlib import closing
from pathlib import Path

DISK, COPIES, DATABASE = Path({disk!r}), Path({copies!r}), Path({disk!r}) / "storage.db"
flushed, events, chance = dict(), [], random.Random(5)

def keep_database(copied):
    log, index = (DATABASE.with_name(DATABASE.name + end) for end in ("-wal", "-shm"))
    with closing(sqlite3.connect(DATABASE, isolation_level=None, timeout=60)) as held:
        held.execute("BEGIN IMMEDIATE")
        held.execute("SELECT count(*) FROM sqlite_master").fetchone()
        words = index.read_bytes()
        (page,), (frames,), (copied_frames,) = (
            struct.unpack_from(form, words, at) for form, at in (("H", 14), ("I", 16), ("I", 128))
        )
        left = chance.randint(copied_frames, frames)
        torn = chance.randrange(page) if left < frames else 0
        (copied / log.name).write_bytes(log.read_bytes()[: 32 + left * (24 + page) + torn])
        (copied / DATABASE.name).write_bytes(DATABASE.read_bytes())
        return frames - left

def copy():
    copied, journal = COPIES / f"{{len(events):04}}", DISK / "run/storage.journal"
    written = journal.stat().st_size if journal.exists() else 0
    copied.mkdir(parents=True)
    for path in DISK.rglob("*"):
        beside = copied / path.relative_to(DISK)
        if path.is_dir():
            beside.mkdir(parents=True)
        elif not path.name.startswith(DATABASE.name):
            beside.write_bytes(flushed.get(path.stat().st_ino, b""))
    lost = keep_database(copied) if DATABASE.exists() and DATABASE.stat().st_size else 0
    events.append([time.monotonic(), written, lost])
    (COPIES / "events.json").write_text(json.dumps(events))

def copying(function):
    def call(*arguments, **named):
        if isinstance(arguments[0], int):
            result = function(*arguments, **named)
            flushed[os.stat(arguments[0]).st_ino] = Path(f"/proc/self/fd/{{arguments[0]}}").read_bytes()
        else:
            gone = os.stat(arguments[-1]).st_ino if os.path.exists(arguments[-1]) else None
            result = function(*arguments, **named)
            if not Path(arguments[-1]).is_relative_to(DISK):
                return result
            flushed.pop(gone, None)
        copy()
        return result
    return call

for name in ("fsync", "replace", "unlink"):
    setattr(os, name, copying(getattr(os, name)))
"""


def rows_of(url: str) -> tuple[list[Row], list[Row]]:
    """The trials of the only study of a storage, and the trainings of its confirmation."""
    with open_storage(url, create=False) as storage:
        (name,) = StudyStorage.names(storage)
        study = StudyStorage.load(storage, name)
        return study.rows(), study.confirmation_rows()


@pytest.mark.faults
@pytest.mark.parametrize("storage", ["journal:///{}/run/storage.journal", "sqlite:///{}/storage.db"])
def test_power_may_be_lost_whenever_anything_reaches_the_disk(
    start: Callable[..., "Process"],
    command: list[str],
    klsearch: Callable[..., "Called"],
    outcomes: Callable[[Iterable[Row]], list[dict[str, Any]]],
    write: Callable[..., Path],
    tmp_path: Path,
    storage: str,
) -> None:
    definition, disk, copies = write(tmp_path, ("epochs = 12", "epochs = 100")), tmp_path / "disk", tmp_path / "copies"
    url = storage.format(disk)
    options = ("--out", disk / "run", "--storage", url, "--slots", 4, "--no-progress")
    disk.mkdir()
    *python, code = command
    copying = COPYING.format(disk=str(disk), copies=str(copies)) + code
    process = start(*python, copying, "run", definition, *options, cwd=tmp_path, err=tmp_path / "err")
    assert process.wait(timeout=LONGEST_SECONDS) == 0, (tmp_path / "err").read_text()
    events = json.loads((copies / "events.json").read_text())
    states = [copies / f"{number:04}" for number in range(len(events))]
    kept = [path.stat().st_size if (path := state / "run/storage.journal").exists() else 0 for state in states]
    lost = [  # seconds: how old the oldest record is that the disk does not have
        now - min((at for at, written, _ in events if written > on_disk), default=now)
        for (now, _, _), on_disk in zip(events, kept, strict=True)
    ]
    whole, confirmed = map(outcomes, rows_of(url))
    tried = states[:: max(1, len(states) // 20)]
    for state in tried:
        shutil.rmtree(disk)
        shutil.copytree(state, disk)
        again = klsearch("run", definition, *options)
        assert again.code == 0, again.err
        trials, trainings = map(outcomes, rows_of(url))
        assert (state.name, trials) == (state.name, whole)
        assert trainings == confirmed
        assert "warning" not in again.err
    frames = max(frames for _, _, frames in events)
    print(f"{len(tried)} of {len(states)} moments tried; at most {max(lost):.1f} s or {frames} frames were lost")
