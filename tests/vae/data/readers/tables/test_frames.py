"""Data frames that the user's own function gives."""

import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder


def test_decimals_of_a_frame_that_a_function_gives_are_numbers_and_its_own_frame_stays(folder: "DataFolder") -> None:
    (folder.path / "rows_exact.py").write_text(
        "from decimal import Decimal\nimport pandas as pd\n\n"
        "FRAME = pd.DataFrame({'a': [Decimal('0.5'), Decimal(2)]})\n"
        "\n\ndef load():\n    return FRAME\n"
    )
    for _ in range(2):
        assert folder.read("rows_exact:load").rows.tolist() == [[0.5], [2]]
    assert sys.modules["rows_exact"].FRAME["a"].tolist() == [Decimal("0.5"), Decimal(2)]


PATIENTS = [f"p{row // 2}" for row in range(6)]
FRAME = pd.DataFrame({"patient": PATIENTS, "visit": range(6), "age": [4.0, 1, 5, 9, 2, 6]})


@pytest.mark.parametrize("key", ["labels", "group", "condition"])
@pytest.mark.parametrize("index", ["patient", ["patient", "visit"]])
def test_the_index_of_a_frame_may_be_named_wherever_no_data_are(
    folder: "DataFolder", key: str, index: str | list[str]
) -> None:
    FRAME[["patient", "age", *([] if index == "patient" else ["visit"])]].set_index(index).to_parquet(
        folder.path / "rows.parquet"
    )
    raw = folder.read("rows.parquet", **{key: ("patient",) if key == "condition" else "patient"})
    assert raw.columns == ("age",)
    told = raw.conditions["patient"] if key == "condition" else getattr(raw, key)
    assert told.tolist() == PATIENTS
    left_out = "rows.parquet: the index 'visit' is not trained on; reset_index() makes data of it"
    assert raw.notes == (() if index == "patient" else (left_out,))


def test_an_index_that_nobody_names_is_no_data_and_told(folder: "DataFolder") -> None:
    FRAME.set_index("patient").to_parquet(folder.path / "rows.parquet")
    raw = folder.read("rows.parquet")
    assert raw.columns == ("visit", "age")
    assert raw.notes == ("rows.parquet: the index 'patient' is not trained on; reset_index() makes data of it",)


def test_a_column_of_the_name_of_the_index_is_the_one_that_is_meant(folder: "DataFolder") -> None:
    FRAME.set_index(pd.Index(range(6), name="patient")).to_pickle(folder.path / "kept.pickle")
    (folder.path / "rows_twice.py").write_text("import pandas\ndef load(): return pandas.read_pickle('kept.pickle')\n")
    raw = folder.read("rows_twice:load", group="patient")
    assert raw.group is not None and raw.group.tolist() == PATIENTS
    assert raw.notes == ()
