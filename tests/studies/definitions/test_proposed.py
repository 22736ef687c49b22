"""Definitions that data suggest."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits

from klsearch.search.cli import main
from klsearch.studies.definitions.catalog import load_definition, template
from klsearch.studies.definitions.data import load_with_data
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.definitions.proposed import propose_definition, toml_value
from klsearch.studies.errors import DataError

RNG = np.random.default_rng(0)
ROWS = {
    "table": load_breast_cancer().data,
    "images": load_digits().images,
    "counts": RNG.poisson(RNG.gamma(1.0, 9.0, size=(200, 12))),
    "wide": RNG.normal(size=(60, 500)),
    "gaps": np.where(RNG.uniform(size=(200, 6)) < 0.1, np.nan, RNG.normal(size=(200, 6))),
    "series": np.sin(np.arange(50) + RNG.normal(size=(100, 50)))[..., np.newaxis],
    "short series": np.cumsum(RNG.normal(size=(400, 24, 8)), axis=1),
    "tokens": np.eye(6)[RNG.integers(0, 6, size=(80, 9))],
}


@pytest.mark.parametrize("kind", ROWS)
def test_what_is_proposed_is_a_valid_definition_of_the_data(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "rows.npy", ROWS[kind])
    (tmp_path / "mine.toml").write_text(propose_definition("rows.npy", tmp_path, name="mine").text)
    loaded, dataset = load_with_data(tmp_path / "mine.toml")
    definition = loaded.definition
    assert definition.study.name == "mine"
    assert definition.training.batch_size <= dataset.rows["train"]
    expected = {"counts": "negative_binomial", "tokens": "categorical"}.get(kind, "gaussian")
    assert definition.model.likelihood == expected
    assert definition.model.kind == ("conv1d" if "series" in kind else "dense")
    assert definition.data.missing == ("mask" if kind == "gaps" else "refuse")
    assert ("overfit" in loaded.toml) == (kind == "wide")
    assert loaded.toml.startswith("# From rows.npy, ")
    text = loaded.toml.splitlines()
    (line,) = [line for line in text if line.startswith("kl_weight = {")]
    assert "# " in line


@pytest.mark.parametrize(
    ("columns", "likelihood"),
    [
        ({"age": RNG.normal(size=60), "town": RNG.choice(["Bonn", "Köln"], size=60)}, "mixed"),
        ({"town": RNG.choice(["Bonn", "Köln"], size=60), "size": RNG.choice(["s", "m", "l"], size=60)}, "mixed"),
        ({"age": RNG.normal(size=60), "smokes": RNG.choice([True, False], size=60)}, "mixed"),
        ({"age": RNG.normal(size=60), "pay": RNG.normal(size=60)}, "gaussian"),
        ({"smokes": RNG.choice([True, False], size=60), "drinks": RNG.choice([True, False], size=60)}, "bernoulli"),
    ],
    ids=["numbers and words", "words", "numbers and truth values", "numbers", "truth values"],
)
def test_a_table_of_several_kinds_is_scored_by_them(
    tmp_path: Path, columns: dict[str, np.ndarray], likelihood: str
) -> None:
    pd.DataFrame(columns).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "mine.toml").write_text(propose_definition("rows.csv", tmp_path, name="mine").text)
    loaded, dataset = load_with_data(tmp_path / "mine.toml")
    assert loaded.definition.model.likelihood == likelihood
    assert dataset.scaling.kind == {"mixed": "columns", "gaussian": "standard", "bernoulli": "none"}[likelihood]


def test_data_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npy: no such file or folder"):
        propose_definition("nowhere.npy", tmp_path, name="mine")


def test_a_source_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "rows_once.py").write_text(
        "from pathlib import Path\nfrom sklearn.datasets import load_digits\n\n\ndef load():\n"
        "    with Path(__file__).with_name('calls').open('a') as calls:\n        calls.write('x')\n"
        "    return load_digits().images\n"
    )
    assert "kl_weight" in propose_definition("rows_once:load", tmp_path, name="mine").text
    assert (tmp_path / "calls").read_text() == "x"


def test_columns_that_cannot_be_data_are_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(
        {
            "height": RNG.normal(size=90),
            'seen "on"': pd.date_range("2020-01-01", periods=90).astype(str),
            "ward": RNG.choice(["north", "south"], 90),
            "größe": np.full(90, np.nan),
            "name": [f"patient {number} {'x' * (number % 7)}" for number in range(90)],
            "age": RNG.integers(18, 90, 90).astype(float),
        }
    ).to_csv("ward.csv", index=False)
    assert main(["init", "mine.toml", "--data", "ward.csv"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:-1] == [
        "note: column 'seen \"on\"' is left out: dates: '2020-01-01' at row 0 (counted from 0, line 2)",
        "note: column 'name' is left out: texts, like an id",
        "note: column 'größe' is left out: no value in any training row",
    ]
    _, dataset = load_with_data(tmp_path / "mine.toml")
    assert [column.name for column in dataset.table or ()] == ["height", "ward", "age"]


def test_numbers_whose_marks_may_stand_between_thousands_are_left_out_with_the_first_of_them(tmp_path: Path) -> None:
    rows = "".join(f"{row % 7};{row},25;{'4,321' if row % 2 else 321 + row}\n" for row in range(40))
    (tmp_path / "rows.csv").write_text("a;b;price in €\n" + rows)
    proposal = propose_definition("rows.csv", tmp_path, name="mine")
    assert proposal.left_out == {
        "price in €": "marks before decimals or between thousands: '4,321' at row 1 (counted from 0, line 3)"
    }
    assert parse_definition(proposal.text, "mine.toml").data.columns == {"price in €": "ignore"}


def test_what_is_said_of_the_scaling_names_a_channel_beside_which_the_others_hardly_count(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS["short series"][:, :, :3] * [1, 1, 100])
    (line,) = re.findall("^scaling = .*$", propose_definition("rows.npy", tmp_path, name="mine").text, re.MULTILINE)
    assert "# here: minmax, over the training split; but channel 2 (counted from 0) of 3 holds 99.9 %" in line


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            RNG.uniform(size=(60, 3, 11, 9)),
            "3 channels of 11 x 9 pixels, but 'conv' takes channels last: write them as np.moveaxis(rows, 1, -1)",
        ),
        (
            ROWS["short series"].swapaxes(1, 2),
            "8 channels of 24 steps, but 'conv1d' takes steps first: write them as np.swapaxes(rows, 1, 2)",
        ),
        (RNG.uniform(size=(60, 11, 9, 3)), None),
    ],
    ids=["images", "series", "channels last"],
)
def test_what_is_said_of_the_kind_warns_of_channels_that_come_first(
    tmp_path: Path, rows: np.ndarray, told: str | None
) -> None:
    np.save(tmp_path / "rows.npy", rows)
    text = propose_definition("rows.npy", tmp_path, name="mine").text
    (line,) = re.findall("^kind = .*$", text, re.MULTILINE)
    assert line.startswith('kind = "dense" ')
    assert (told in line) if told else ("write them as" not in text)
    assert parse_definition(text, "mine.toml").model.kind == "dense"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            "a b\n1.5 2\n3 4.5\n",
            "column 'a b' holds '1.5 2' at row 0 (counted from 0, line 2), which is several numbers",
        ),
        ("day,id\n2020-01-01,p1\n2020-01-02,p2\n", "nor can 'id' (texts, like an id) be data; without them no column"),
        ("seq\nACG\nCCG\nGAT\n", "column 'seq' holds 3 different texts in 3 rows, like an id"),
    ],
)
def test_where_no_column_is_left_it_is_said_why_each_is_out(tmp_path: Path, table: str, told: str) -> None:
    (tmp_path / "rows.csv").write_text(table)
    with pytest.raises(DataError) as caught:
        propose_definition("rows.csv", tmp_path, name="mine")
    assert told in str(caught.value)
    assert str(caught.value).endswith("no column is left to train on")


def test_a_column_with_one_value_that_is_no_number_is_left_out_with_it_and_not_as_if_it_held_none(
    tmp_path: Path,
) -> None:
    rows = "".join(f"{row % 7},{row * 1.5 if row != 7 else '12.3.4'}\n" for row in range(40))
    (tmp_path / "rows.csv").write_text("a,c\n" + rows)
    proposal = propose_definition("rows.csv", tmp_path, name="mine")
    where = "'12.3.4' at row 7 (counted from 0, line 9)"
    assert proposal.left_out == {"c": f"not all numbers: 39 of 40 are, the first that is not: {where}"}
    assert "# left out: not all numbers\n" in proposal.text


def test_of_several_arrays_the_one_that_is_named_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("both.npz", left=ROWS["table"], right=ROWS["images"])
    assert main(["init", "mine.toml", "--data", "both.npz"]) == 2
    assert "`klsearch init --array`" in capsys.readouterr().err
    assert main(["init", "mine.toml", "--data", "both.npz", "--array", "right"]) == 0
    assert load_with_data(tmp_path / "mine.toml")[1].shape == (8, 8)
    assert main(["init", "other.toml", "--array", "right"]) == 2
    assert not Path("other.toml").exists()


@pytest.mark.parametrize(
    ("rows", "told"),
    [(np.ones((9, 3)) + 1j, "holds complex numbers"), (np.empty((0, 3)), "is empty: no rows")],
)
def test_what_is_wrong_with_rows_is_said_before_anything_is_proposed_for_them(
    tmp_path: Path, rows: np.ndarray, told: str
) -> None:
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(DataError, match=told):
        propose_definition("rows.npy", tmp_path, name="mine")


def test_init_names_data_relative_to_the_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    np.save(tmp_path / "below" / "rows.npy", ROWS["table"])
    monkeypatch.chdir(tmp_path / "below")
    assert main(["init", "../mine.toml", "--data", "rows.npy"]) == 0
    assert load_definition(tmp_path / "mine.toml").definition.data.source == "below/rows.npy"
    assert main(["check", "../mine.toml"]) == 0
    told = capsys.readouterr().out
    assert "proposal: kl_weight from " in told
    assert "a linear VAE keeps no latent" in told


@pytest.mark.parametrize("channels", [1, 8])
def test_a_proposal_for_series_becomes_a_recurrent_model_by_its_kind_and_without_filters(
    tmp_path: Path, channels: int
) -> None:
    np.savez(tmp_path / "series.npz", np.cumsum(RNG.normal(size=(90, 24, channels)), axis=1))
    path = tmp_path / "mine.toml"
    assert main(["init", str(path), "--data", str(tmp_path / "series.npz")]) == 0
    text = re.sub(r"^filters = .*\n", "", path.read_text(), flags=re.MULTILINE)
    path.write_text(re.sub('^kind = "conv1d"', 'kind = "recurrent"', text, flags=re.MULTILINE))
    model = load_with_data(path)[0].definition.model
    assert (model.kind, model.sizes()["cell"]) == ("recurrent", "gru")


def test_the_template_becomes_a_recurrent_model_by_its_kind_alone() -> None:
    text = re.sub('^kind = "dense"', 'kind = "recurrent"', template(), flags=re.MULTILINE)
    assert parse_definition(text, "mine.toml").model.kind == "recurrent"


@given(st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1))
def test_a_number_written_as_toml_reads_back_to_the_same_one(value: float) -> None:
    read = tomllib.loads(f"value = {toml_value(value)}")["value"]
    assert (read, type(read)) == (value, type(value))
