"""The file with a line for each epoch."""

import json
from pathlib import Path

import pandas as pd
import pytest

from klsearch.search.terminal.epoch_log import EpochLog
from klsearch.studies.errors import UsageError

NAN = float("nan")


def test_lists_have_a_column_for_each_value_and_later_lines_the_columns_of_the_first(tmp_path: Path) -> None:
    log = EpochLog(tmp_path / "log.csv")
    log.check()
    log.write({"epoch": 1, "kl": [1.0, 2.0]})
    log.write({"epoch": 2, "kl": [3.0, 4.0], "late": 5.0})
    frame = pd.read_csv(tmp_path / "log.csv")
    assert list(frame.columns) == ["epoch", "kl_1", "kl_2"]
    assert frame.to_numpy().tolist() == [[1, 1.0, 2.0], [2, 3.0, 4.0]]


def test_a_file_with_further_columns_is_gone_on_with_and_one_that_lacks_some_is_not(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("kl,epoch,more\n1.0,1,0\n")
    EpochLog(path).write({"epoch": 2, "kl": 2.0})
    assert path.read_text().splitlines()[-1] == "2.0,2,"
    with pytest.raises(UsageError, match="has other columns; name another file"):
        EpochLog(path).write({"epoch": 3, "loss": 2.0})
    assert len(path.read_text().splitlines()) == 3


def test_json_lines_hold_null_where_there_is_no_number(tmp_path: Path) -> None:
    EpochLog(tmp_path / "log.jsonl").write({"epoch": 1, "kl": [1.0, NAN], "loss": NAN})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"epoch": 1, "kl": [1.0, None], "loss": None}


def test_what_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*: Is a directory\."):
        EpochLog(tmp_path).check()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*file/log\.csv"):
        EpochLog(tmp_path / "file" / "log.csv").check()
