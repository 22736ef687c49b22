"""A machine loses its power in the middle of a study: of every file what had been flushed to the disk is left."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from klsearch.search.storage.rows import Row

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process

# Against hanging: how fast a machine trains is not what is tested.
LONGEST_SECONDS = 900

# Before the command: after everything that reaches the disk, what a machine without power would find there is copied.
# Names are as they are: file systems bring them to the disk in order, with the next file that is flushed at the latest.
COPYING = """
import json, os, time
from pathlib import Path

FOLDER, COPIES = Path({folder!r}), Path({copies!r})
flushed, events = dict(), []

def copy():
    copied, journal = COPIES / f"{{len(events):04}}", FOLDER / "storage.journal"
    written = journal.stat().st_size if journal.exists() else 0
    for path in [FOLDER, *FOLDER.rglob("*")]:
        beside = copied / path.relative_to(FOLDER)
        if path.is_dir():
            beside.mkdir(parents=True)
        else:
            beside.write_bytes(flushed.get(path.stat().st_ino, b""))
    events.append([time.monotonic(), written])
    (COPIES / "events.json").write_text(json.dumps(events))

def copying(function):
    def call(*arguments, **named):
        if isinstance(arguments[0], int):
            result = function(*arguments, **named)
            flushed[os.stat(arguments[0]).st_ino] = Path(f"/proc/self/fd/{{arguments[0]}}").read_bytes()
        else:
            gone = os.stat(arguments[-1]).st_ino if os.path.exists(arguments[-1]) else None
            result = function(*arguments, **named)
            if not Path(arguments[-1]).is_relative_to(FOLDER):
                return result
            flushed.pop(gone, None)
        copy()
        return result
    return call

for name in ("fsync", "replace", "unlink"):
    setattr(os, name, copying(getattr(os, name)))
"""


@pytest.mark.faults
def test_power_may_be_lost_whenever_anything_reaches_the_disk(
    start: Callable[..., "Process"],
    command: list[str],
    klsearch: Callable[..., "Called"],
    outcomes: Callable[[Iterable[Row]], list[dict[str, Any]]],
    rows_in: Callable[..., list[Row]],
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    definition, folder, copies = write(tmp_path, ("epochs = 12", "epochs = 100")), tmp_path / "run", tmp_path / "copies"
    options, (*python, code) = ("--slots", 4, "--no-progress"), command
    copying = COPYING.format(folder=str(folder), copies=str(copies)) + code
    process = start(*python, copying, "run", definition, "--out", folder, *options, cwd=tmp_path, err=tmp_path / "err")
    assert process.wait(timeout=LONGEST_SECONDS) == 0, (tmp_path / "err").read_text()
    events = json.loads((copies / "events.json").read_text())
    states = [copies / f"{number:04}" for number in range(len(events))]
    kept = [journal.stat().st_size if (journal := state / "storage.journal").exists() else 0 for state in states]
    lost = [  # seconds: how old the oldest record is that the disk does not have
        now - min((at for at, written in events if written > on_disk), default=now)
        for (now, _), on_disk in zip(events, kept, strict=True)
    ]
    whole, confirmed = outcomes(rows_in(folder)), outcomes(rows_in(folder, confirmation=True))
    tried = states[:: max(1, len(states) // 20)]
    for state in tried:
        again = klsearch("run", definition, "--out", state, *options)
        assert again.code == 0, again.err
        assert (state.name, outcomes(rows_in(state))) == (state.name, whole)
        assert outcomes(rows_in(state, confirmation=True)) == confirmed
        assert "warning" not in again.err
    print(f"{len(tried)} of {len(states)} moments tried; records of the last {max(lost):.1f} s were lost at most")
