"""The journal file."""

import os
import subprocess
import sys
import time
from pathlib import Path

from optuna.study import StudyDirection

from klsearch.search.storage.opening import (
    open_storage,
)

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
