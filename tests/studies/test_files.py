import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from klsearch.studies.files import open_to_replace, read_ordinary, remove_unfinished, write_atomically


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    write_atomically(path, "old")
    with pytest.raises(OSError, match="full") as failed, open_to_replace(path) as file:
        file.write(b"half of the new")
        raise OSError(errno.ENOSPC, "the disk is full")
    assert failed.value.filename == str(path), "a write that fails does not say of which file"
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["trials.csv"]


def test_a_file_that_cannot_be_made_is_named_and_not_the_one_beside_it(tmp_path: Path) -> None:
    too_long = tmp_path / f"{'x' * 240}.html"  # with what stands beside it in the name there is room for it alone
    too_long.touch()
    with pytest.raises(OSError, match="File name too long") as failed:
        write_atomically(too_long, "new")
    assert failed.value.filename == str(too_long)


def test_what_is_no_ordinary_file_or_a_larger_one_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    path, pipe = tmp_path / "run.json", tmp_path / "pipe"
    path.write_bytes(b"12345")
    assert read_ordinary(path) == read_ordinary(path, most=5) == b"12345"
    os.mkfifo(pipe)
    zero = Path("/dev/zero")
    for other, most, reason in ((path, 4, "more than 4 bytes"), (pipe, 9, "ordinary"), (zero, 9, "ordinary")):
        with pytest.raises(OSError, match=reason) as refused:
            read_ordinary(other, most=most)
        assert refused.value.filename == str(other)


def test_a_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_atomically(path, "é")
    beside = tmp_path / "beside"
    beside.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)


def test_processes_of_the_same_id_that_write_a_file_at_once_each_leave_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as the first process of every container
    path = tmp_path / "report.html"
    with open_to_replace(path) as slow:
        slow.write(b"one machine's ")
        slow.flush()
        write_atomically(path, "another's")
        assert path.read_text() == "another's"
        slow.write(b"report")
    assert path.read_text() == "one machine's report"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


WRITE = """
import sys, time
from pathlib import Path
from klsearch.studies.files import open_to_replace
with open_to_replace(Path(sys.argv[1])) as file:
    print("half", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_half_written_is_removed_and_a_living_one_s_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "report.html"
    (tmp_path / ".study.toml.4711.tmp").touch()  # of the first release
    (tmp_path / ".mine.tmp").touch()
    (tmp_path / "notes.0123456789abcdef.tmp").touch()
    with subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        remove_unfinished(tmp_path)
        (half,) = tmp_path.glob(".report.html.*.tmp")
        write_atomically(path, "another's")
        assert half.exists(), "its process lives"
        process.kill()
        process.wait()
        assert half.exists(), "a killed process removes nothing"
        remove_unfinished(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        ".mine.tmp",
        "notes.0123456789abcdef.tmp",
        "report.html",
    ]


def test_who_writes_a_file_removes_what_killed_processes_left_of_it_and_of_no_other(tmp_path: Path) -> None:
    for name in ("report.html", "report.html.old", "trials.csv"):
        (tmp_path / f".{name}.0123456789abcdef.tmp").touch()
    write_atomically(tmp_path / "report.html", "whole")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        ".report.html.old.0123456789abcdef.tmp",
        ".trials.csv.0123456789abcdef.tmp",
        "report.html",
    ]
