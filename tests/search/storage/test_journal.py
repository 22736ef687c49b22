"""The journal file: what is appended, and what becomes of a line that was cut off."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from klsearch.search.storage.database.patience import Patience
from klsearch.search.storage.journal import JournalFile
from klsearch.search.storage.opening import open_storage
from klsearch.studies.errors import StorageError

DIE_WRITING = """
import fcntl, os, signal, sys
file = open(sys.argv[1], "ab", buffering=0)
fcntl.flock(file, fcntl.LOCK_EX)
file.write(b'{"op_code":0,"worker_id":"x","study_na')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_while_it_writes_neither_blocks_the_journal_nor_breaks_it(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path = tmp_path / "journal"
    url = f"journal:///{path}"
    with open_storage(url, create=True) as storage:
        storage.create_new_study([StudyDirection.MINIMIZE], "before")
    killed = subprocess.run([sys.executable, "-c", DIE_WRITING, str(path)], env=environment)
    assert killed.returncode < 0
    began = time.monotonic()
    with open_storage(url, create=False) as storage:
        storage.create_new_study([StudyDirection.MINIMIZE], "after")
    assert time.monotonic() - began < 10, "the dead process's lock was waited for"
    with open_storage(url, create=False) as storage:
        assert [study.study_name for study in storage.get_all_studies()] == ["before", "after"]
    assert os.listdir(tmp_path) == ["journal"]


RECORD, NEXT = {"op_code": 0, "worker_id": "ä"}, {"op_code": 1, "worker_id": "b"}


@pytest.mark.parametrize(
    ("whole", "torn"),
    [
        ([], b""),
        ([], b'{"op_code":0,"wor'),  # the very first record was cut off
        ([RECORD], b""),
        ([RECORD], b"{"),
        ([RECORD, RECORD], b'{"op_code":0,"worker_id":"x"}'),  # whole but for its end: nobody has read it
        ([RECORD], b"\0" * 5000),  # a machine without power leaves a hole
        ([RECORD], b"\0" * 5000 + b"\n"),
        ([RECORD], b"[" * 200_000 + b"\n"),
        ([RECORD], b'{"op_code":0,"worker_id":\xff"x"}\n'),  # neither text nor JSON
        ([RECORD], b'{"op_code":0,"worker_id":"' + b"x" * 200_000),
    ],
)
def test_a_line_that_was_cut_off_is_dropped_before_the_next_is_written(
    whole: list[dict[str, object]], torn: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    JournalFile(str(path)).append_logs(whole)
    with path.open("ab") as file:
        file.write(torn)
    journal = JournalFile(str(path))
    journal.append_logs([NEXT])
    assert list(journal.read_logs(0)) == [*whole, NEXT]
    assert [json.loads(line) | {"crc": ""} for line in path.read_bytes().splitlines()] == [
        record | {"crc": ""} for record in [*whole, NEXT]
    ]
    journal.close()


def test_a_damaged_last_line_hides_nothing_before_it_and_a_reader_goes_on_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    JournalFile(str(path)).append_logs([RECORD])
    with path.open("ab") as file:
        file.write(b"\xff\n")
    reader = JournalFile(str(path))
    assert list(reader.read_logs(0)) == [RECORD]
    JournalFile(str(path)).append_logs([NEXT, RECORD])
    assert list(reader.read_logs(1)) == [NEXT, RECORD]
    assert list(reader.read_logs(2)) == [RECORD]


def test_a_damaged_line_in_the_middle_is_named_by_its_number(tmp_path: Path) -> None:
    url, path = f"journal:///{tmp_path / 'journal'}", tmp_path / "journal"
    with open_storage(url, create=True) as storage:
        for name in ("first", "second", "third"):
            storage.create_new_study([StudyDirection.MINIMIZE], name)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"', b"'", 1)
    path.write_bytes(b"".join(lines))
    with pytest.raises(StorageError, match=r"cannot open the storage journal:.*: line 2 is damaged") as refused:
        open_storage(url, create=True).__enter__()
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == b"".join(lines), "nothing is lost of what a copy may mend"


def test_the_way_out_of_a_damaged_line_keeps_what_stands_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs of $(date)"
    folder.mkdir()
    url, path = f"journal:///{folder / 'journal'}", folder / "journal"
    with open_storage(url, create=True) as storage:
        for name in ("first", "second", "third", "fourth"):
            storage.create_new_study([StudyDirection.MINIMIZE], name)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"third", b"thirf"), lines[3]]))
    with pytest.raises(StorageError) as refused:
        open_storage(url, create=True).__enter__()
    way_out = str(refused.value).partition("is trained again: ")[2]
    subprocess.run(way_out, shell=True, check=True)
    with open_storage(url, create=True) as storage:
        assert [study.study_name for study in storage.get_all_studies()] == ["first", "second"]
    (kept,) = folder.glob("journal.damaged-at-3-*")
    subprocess.run(way_out, shell=True, check=False)
    assert (kept.read_bytes().count(b"\n"), path.read_bytes().count(b"\n")) == (4, 2), "given twice it does nothing"


def test_of_a_journal_whose_first_line_is_damaged_only_a_copy_is_left(tmp_path: Path) -> None:
    url, path = f"journal:///{tmp_path / 'journal'}", tmp_path / "journal"
    with open_storage(url, create=True) as storage:
        for name in ("first", "second"):
            storage.create_new_study([StudyDirection.MINIMIZE], name)
    path.write_bytes(path.read_bytes().replace(b"first", b"firsd"))
    with pytest.raises(StorageError, match=r"line 1 is damaged; restore the file from a copy$"):
        open_storage(url, create=True).__enter__()


def test_a_machine_that_loses_its_power_loses_the_last_records_alone(tmp_path: Path) -> None:
    """What was not flushed is cut off anywhere: what was written before can be read, and gone on with."""
    path = tmp_path / "journal"
    with open_storage(f"journal:///{path}", create=True) as storage:
        for name in ("first", "second", "third"):
            storage.create_new_study([StudyDirection.MINIMIZE], name)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with open_storage(f"journal:///{path}", create=True) as storage:
            names = [study.study_name for study in storage.get_all_studies()]
            assert names == ["first", "second", "third"][: whole[:end].count(b"\n")]
            storage.create_new_study([StudyDirection.MINIMIZE], "next")
            assert [study.study_name for study in storage.get_all_studies()] == [*names, "next"]


def test_no_line_in_which_a_bit_has_changed_is_taken_for_a_record(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    JournalFile(str(path)).append_logs([RECORD, NEXT])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for index in range(8 * (first - 19)):  # its checksum apart, in which nothing stands that is read
        damaged = bytearray(whole)
        damaged[index // 8] ^= 1 << index % 8
        path.write_bytes(damaged)
        with pytest.raises(StorageInternalError, match="line 1 is damaged"):
            list(JournalFile(str(path)).read_logs(0))


def test_a_journal_of_optuna_or_of_an_earlier_release_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    JournalFileBackend(str(path)).append_logs([RECORD])
    journal = JournalFile(str(path))
    journal.append_logs([NEXT])
    journal.close()
    assert list(journal.read_logs(0)) == [RECORD, NEXT]
    assert [log["op_code"] for log in JournalFileBackend(str(path)).read_logs(0)] == [0, 1], "and the other way round"


def put_a_pipe_there(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def write_another_over(path: Path) -> None:
    """Write the journal of two other studies over one, as `cp` does: the system knows it by the same number then."""
    another = path.with_name("another")
    with open_storage(f"journal:///{another}", create=True) as storage:
        for name in ("other", "third"):
            storage.create_new_study([StudyDirection.MINIMIZE], name)
    shutil.copyfile(another, path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: path.unlink(), "it was removed meanwhile"),
        (lambda path: path.rename(path.with_name("aside")), "it was removed meanwhile"),
        (
            lambda path: os.replace(shutil.copy(path, path.with_name("copy")), path),
            "it was replaced by another file meanwhile",
        ),
        (put_a_pipe_there, "it is no ordinary file"),
        (write_another_over, "it was replaced by another file meanwhile"),
        (lambda path: path.write_bytes(b""), "it was cut off meanwhile"),
    ],
)
def test_a_journal_that_is_no_longer_the_same_is_neither_read_nor_written(
    change: Callable[[Path], object], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    says = pytest.raises(StorageError, match=f"the storage journal:.*/journal stopped answering: {told}")
    with says as refused, open_storage(f"journal:///{path}", create=True) as storage:
        storage.create_new_study([StudyDirection.MINIMIZE], "first")
        change(path)
        left = path.read_bytes() if path.is_file() else None
        storage.create_new_study([StudyDirection.MINIMIZE], "second")
    assert "\n" not in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == left


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, for a test that gives up root's rights: to root nothing is denied."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        os.seteuid(user)


def test_a_journal_that_may_only_be_read_is_read_and_a_write_is_refused_at_once(open_folder: Path) -> None:
    url, path = f"journal:///{open_folder}/journal", open_folder / "journal"
    with open_storage(url, create=True) as storage:
        storage.create_new_study([StudyDirection.MINIMIZE], "first")
    path.chmod(0o444)
    if os.geteuid() == 0:
        os.seteuid(65534)
    before, said = path.read_bytes(), list[str]()
    patience = Patience(say=said.append, stop=lambda: False)
    says = pytest.raises(StorageError, match=r"the storage journal:.*/journal stopped answering: Permission denied$")
    with says, open_storage(url, create=True, patience=patience) as storage:
        assert [study.study_name for study in storage.get_all_studies()] == ["first"]
        storage.create_new_study([StudyDirection.MINIMIZE], "second")
    assert (path.read_bytes(), said) == (before, [])


def test_nothing_is_appended_while_another_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = JournalFile(str(path))
    writing = threading.Thread(target=journal.append_logs, args=([RECORD],))
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writing.start()
        writing.join(0.2)
        assert writing.is_alive()
        assert path.read_bytes() == b""
    writing.join()
    assert list(journal.read_logs(0)) == [RECORD]


APPEND_AND_DIE = """
import os, signal, sys
from klsearch.search.storage.journal import JournalFile
journal = JournalFile(sys.argv[1])
for number in range(3):
    journal.append_logs([{"op_code": number}])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_appended_outlives_a_process_that_is_killed_at_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path = str(tmp_path / "journal")
    killed = subprocess.run([sys.executable, "-c", APPEND_AND_DIE, path], env=environment)
    assert killed.returncode < 0
    assert [log["op_code"] for log in JournalFile(path).read_logs(0)] == [0, 1, 2]


def test_a_journal_to_which_nothing_was_written_is_left_alone_when_it_is_closed(tmp_path: Path) -> None:
    journal = JournalFile(str(tmp_path / "journal"))
    (tmp_path / "journal").unlink()
    journal.close()
    assert list(tmp_path.iterdir()) == []
