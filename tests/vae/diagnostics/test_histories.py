"""Reading the histories that Keras, pandas and people's own loops write."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.diagnostics.histories import HistoryProblem, read_history

COLUMNS = {"loss": [9.0, 7.0, 6.0], "reconstruction_loss": [8.0, 5.0, 3.0], "kl_loss": [1.0, 2.0, 3.0]}


def saved(folder: Path, text: str) -> Path:
    path = folder / "history"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        pd.DataFrame(COLUMNS).to_csv(),
        pd.DataFrame(COLUMNS).to_csv(index_label="epoch", sep=";"),
        pd.DataFrame(COLUMNS).to_csv(index=False, sep=";", decimal=","),
        pd.DataFrame(COLUMNS).to_csv(index=False, sep="\t", lineterminator="\r\n"),
        json.dumps(COLUMNS),
        json.dumps({"params": {"epochs": 3}, "history": COLUMNS}),
        pd.DataFrame(COLUMNS).to_json(orient="records"),
        pd.DataFrame(COLUMNS).to_json(orient="records", lines=True),
        "﻿" + pd.DataFrame(COLUMNS).to_csv(index=False),
    ],
    ids=["pandas", "semicolons", "decimal commas", "tabs", "columns", "history", "records", "lines", "byte order mark"],
)
def test_every_form_gives_the_same_history(text: str, tmp_path: Path) -> None:
    history = read_history(saved(tmp_path, text))
    assert history.kl.tolist() == [1, 2, 3]
    assert history.reconstruction is not None
    assert history.reconstruction.tolist() == [8, 5, 3]
    assert history.parts is not None
    assert history.parts.implied_weight().tolist() == [1, 1, 1]
    assert history.kl_weight is None
    assert history.nonfinite_epochs == 0


@pytest.mark.parametrize("name", ["kl", "KL loss", "klDivergence", "kld", "train/kl_loss", "val_kl_loss", "kl_term"])
def test_the_kl_column_is_known_by_its_name(name: str, tmp_path: Path) -> None:
    history = read_history(saved(tmp_path, f"epoch,{name},beta\n0,1,0.1\n1,2,0.2\n"))
    assert history.columns["kl"] == name
    assert history.kl_weight is not None
    assert history.kl_weight.tolist() == [0.1, 0.2]


def test_objects_within_objects_are_columns_under_the_names_that_lead_there(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "train": {"kl": epoch, "of": {"beta": 0.5}}, "val": {"kl": epoch + 1}} for epoch in (0, 1)]
    columns = {"train": {"kl": [0, 1], "of": {"beta": [0.5, 0.5]}}, "val": {"kl": [1, 2]}, "of": {}}
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(columns)):
        history = read_history(saved(tmp_path, text))
        assert history.columns == {"kl": "val.kl", "kl_weight": "train.of.beta"}
        assert history.kl.tolist() == [1, 2]


@pytest.mark.parametrize(("epochs", "step"), [(10, 5), (102, 5), (9, 2)])
def test_validation_of_some_epochs_stands_in_these_in_a_history_of_keras(
    epochs: int, step: int, tmp_path: Path
) -> None:
    measured = list(range(step - 1, epochs, step))
    history = {"loss": [1.0] * epochs, "val_loss": measured, "val_kl_loss": measured}
    read = read_history(saved(tmp_path, json.dumps(history)))
    assert read.kl.tolist() == read.epochs.tolist() == measured
    assert read.trained == epochs


def test_the_epochs_are_those_of_the_column_or_the_rows_of_which_some_have_no_kl(tmp_path: Path) -> None:
    history = read_history(saved(tmp_path, "loss,kl,beta\n1,,0\n1,5,1\n1,,2\n1,6,3\n1,,4\n"))
    assert (history.epochs.tolist(), history.rows.tolist(), history.trained) == ([1, 3], [0, 1, 2, 3, 4], 5)
    assert history.kl_weight is not None
    assert history.kl_weight.tolist() == [0, 1, 2, 3, 4]
    for numbers, trained in (((0, 10, 20), 21), ((10, 20, 30), 30), ((1, 2, 3), 3), ((0.5, 1, 1.5), 2), ((50, 51), 2)):
        text = "\n".join(["epoch,kl", *(f"{number},1" for number in numbers)])
        history = read_history(saved(tmp_path, text + "\n"))
        assert (history.epochs.tolist(), history.trained) == (list(numbers), trained)


def test_what_a_monitor_saw_of_few_epochs_is_taken_before_what_the_training_logged(tmp_path: Path) -> None:
    rows = "\n".join(f"{epoch},9,{epoch if epoch % 5 == 0 else ''}" for epoch in range(1, 21))
    history = read_history(saved(tmp_path, f"epoch,kl_loss,val_kl_per_latent\n{rows}\n"))
    assert history.kl.tolist() == history.epochs.tolist() == [5, 10, 15, 20]


def test_a_bare_weight_that_only_falls_is_not_that_of_the_kl_unless_it_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "epoch,kl,weight\n0,1,0.3\n1,2,0.2\n2,3,0.1\n")
    assert read_history(path).kl_weight is None
    assert read_history(path, {"kl_weight": "weight"}).kl_weight is not None
    assert read_history(saved(tmp_path, "epoch,kl,weight\n0,1,0.3\n1,2,0.3\n")).kl_weight is not None
    assert read_history(saved(tmp_path, "epoch,kl,beta\n0,1,0.3\n1,2,0.2\n")).kl_weight is not None


def test_a_file_that_is_still_written_to_is_read_without_its_half_line(tmp_path: Path) -> None:
    assert read_history(saved(tmp_path, "epoch,kl,loss\n0,1,9\n1,2,8\n2,")).kl.tolist() == [1, 2]
    assert read_history(saved(tmp_path, '{"kl": 1}\n{"kl": 2}\n{"kl"')).kl.tolist() == [1, 2]


def test_values_that_are_not_finite_are_counted_and_empty_cells_are_not(tmp_path: Path) -> None:
    history = read_history(saved(tmp_path, "epoch,kl,loss,val_kl\n0,1,9,NA\n1,2,nan,2\n2,inf,8,3\n3,2,8,4\n"))
    assert history.nonfinite_epochs == 2
    assert history.kl.tolist() == [2, 3, 4]  # validation was measured in most epochs
    assert any("left out" in note for note in history.notes)


def test_a_number_of_json_that_is_not_finite_is_counted_as_one_of_csv_is(tmp_path: Path) -> None:
    history = read_history(saved(tmp_path, json.dumps({"loss": [3.0, math.nan], "kl": [1.0, math.nan]})))
    assert (len(history.kl), history.nonfinite_epochs) == (2, 1)


def test_an_epoch_without_any_value_is_what_pandas_writes_for_nan(tmp_path: Path) -> None:
    frame = pd.DataFrame({"epoch": [0, 1], "kl": [1, math.nan], "loss": [1, math.nan]})
    assert read_history(saved(tmp_path, frame.to_csv(index=False))).nonfinite_epochs == 1


def test_the_last_of_several_trainings_is_read(tmp_path: Path) -> None:
    history = read_history(saved(tmp_path, "epoch,kl\n0,9\n1,9\n0,1\n1,2\n"))
    assert np.array_equal(history.kl, [1, 2])
    assert "row 3" in history.notes[0]


def test_rows_of_one_epoch_are_averaged(tmp_path: Path) -> None:
    assert read_history(saved(tmp_path, "epoch,kl\n0,1\n0,3\n1,4\n")).kl.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch,loss,val_loss\n0,1,2\n", "--kl; there are: epoch, loss, val_loss"),
        ("epoch,kl\n0,2 nats\n1,3 nats\n", "there are: epoch; not of numbers: kl\\."),
        ("epoch,kl\n", "no epochs yet"),
        ("", "is empty"),
        ("[1, 2]", "no history"),
        ('{"kl": 1}\nkl\n{"kl": 2}\n', "line 2 is not JSON"),
    ],
)
def test_what_is_no_history_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(HistoryProblem, match=said) as refused:
        read_history(saved(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_columns_may_be_named_and_a_wrong_name_lists_them(tmp_path: Path) -> None:
    path = saved(tmp_path, "epoch,divergence,fit\n0,1,2\n1,3,4\n")
    assert read_history(path, {"kl": "divergence", "reconstruction": "fit"}).kl.tolist() == [1, 3]
    with pytest.raises(HistoryProblem, match="no column of numbers 'kl'; it has: epoch, divergence, fit"):
        read_history(path, {"kl": "kl"})


def test_the_logarithm_of_a_kl_is_no_kl(tmp_path: Path) -> None:
    path = saved(tmp_path, "epoch,log_kl,log10_KL\n0,1,2\n1,3,4\n")
    for name in ("log_kl", "log10_KL"):
        with pytest.raises(HistoryProblem, match=f"'{name}' is called a logarithm; give the KL itself"):
            read_history(path, {"kl": name})


def test_units_in_brackets_and_percent_signs_are_understood(tmp_path: Path) -> None:
    history = read_history(saved(tmp_path, "Epoch,KL [nats/row],Recon. error (sum),Beta\n0,1,9,50%\n1,2,8,100 %\n"))
    assert history.kl.tolist() == [1, 2]
    assert history.reconstruction is not None
    assert history.reconstruction.tolist() == [9, 8]
    assert history.kl_weight is not None
    assert history.kl_weight.tolist() == [0.5, 1]


def test_a_kl_that_was_written_with_its_weight_is_divided_by_it(tmp_path: Path) -> None:
    """Loss 9 = 8 + 1 at weight 0.1 is a KL of 10; with weight 0 nothing was seen, and a neighbour's is taken."""
    rows = "epoch,loss,reconstruction_loss,kl_loss,beta\n0,9,9,0,0\n1,9,8,1,0.1\n2,9,6,3,0.2\n3,9,9,0,0\n"
    history = read_history(saved(tmp_path, rows))
    np.testing.assert_allclose(history.kl, [10, 10, 15, 15])
    assert any("kl_loss holds the KL times its weight" in note for note in history.notes)
    plain = read_history(saved(tmp_path, rows.replace("9,8,1", "8.1,8,1").replace("9,6,3", "6.6,6,3")))
    assert plain.kl.tolist() == [0, 1, 3, 0], "it adds to the loss with its weight"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "history").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(HistoryProblem, match="not text"):
        read_history(tmp_path / "history")
