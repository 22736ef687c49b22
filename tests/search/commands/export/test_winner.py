"""The winner, taken away."""

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from klsearch.search.commands.export.winner import _tell_uncopied, _write, describe_scaling, filling_of, gap_notes
from klsearch.search.storage.place import known_place
from klsearch.search.storage.records import load_study
from klsearch.studies.definitions.data import load_data
from klsearch.studies.definitions.sections import ModelSection
from klsearch.studies.errors import UsageError
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.candidates import runs_of
from klsearch.vae.data.datasets import load_dataset
from klsearch.vae.data.readers.raw import Request

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

Klsearch = Callable[..., "Called"]
FILES = {"encoder.keras", "decoder.keras", "scaler.json", "best.toml", "vae_settings.py"}


@pytest.fixture(scope="module")
def exported(
    finished: "Finished", klsearch: Klsearch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, "Called"]:
    folder = tmp_path_factory.mktemp("exported") / "best"
    called = klsearch("export", finished.folder, folder)
    assert called.code == 0, called.err
    return folder, called


def test_an_export_is_the_winner_s_best_fresh_seed_trained_again(
    exported: tuple[Path, "Called"], finished: "Finished"
) -> None:
    folder, called = exported
    study = load_study(known_place(str(finished.folder), storage=None, study=None))
    best = min((run for run in runs_of(study, "winner") if run.passed), key=lambda run: run.score)
    first, *listed = called.out.splitlines()
    assert first.startswith(f"Trial {study.winner}, the winner, trained again on fresh seed {best.seed}, ")
    assert "with the stored result bit for bit" in first
    assert {path.name for path in folder.iterdir()} == FILES
    assert {line.strip() for line in listed if line.startswith(" ")} == {str(folder / name) for name in FILES}

    dataset = load_data(study.definition, finished.definition_file.parent)
    encoder, decoder = (keras.models.load_model(folder / f"{name}.keras") for name in ("encoder", "decoder"))
    mean, log_var = (np.asarray(values, np.float64) for values in encoder(dataset.validation))
    kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).mean(axis=0)
    assert best.measures is not None
    np.testing.assert_allclose(kl, best.measures.kl_per_latent, rtol=1e-4)
    assert decoder(mean).shape == dataset.validation.shape


def test_the_scaler_turns_raw_rows_into_those_that_were_trained_on(
    exported: tuple[Path, "Called"], finished: "Finished"
) -> None:
    scaler = json.loads((exported[0] / "scaler.json").read_text())
    assert scaler["columns"] == list("abcdef")
    assert scaler["formula"] == "scaled = (raw - offset) / scale"
    raw = np.loadtxt(finished.definition_file.parent / "rows.csv", delimiter=",", skiprows=1)
    scaled = ((raw - scaler["offset"]) / scaler["scale"]).astype(np.float32)
    study = load_study(known_place(str(finished.folder), storage=None, study=None))
    splits = load_data(study.definition, finished.definition_file.parent).splits.values()
    assert {tuple(row) for row in scaled.tolist()} == {tuple(row) for rows in splits for row in rows[:].tolist()}


def test_the_exported_definition_measures_a_later_study_against_the_winner(
    exported: tuple[Path, "Called"], finished: "Finished", klsearch: Klsearch
) -> None:
    checked = klsearch("check", exported[0] / "best.toml", "--json")
    study = load_study(known_place(str(finished.folder), storage=None, study=None))
    assert (checked.code, checked.document["study"]) == (0, f"tiny-trial-{study.winner}")
    assert study.data is not None
    assert checked.document["fingerprint"] == study.data.fingerprint
    baselines = tomllib.loads((exported[0] / "best.toml").read_text())["baselines"]
    best = summarize(study).best
    assert best is not None
    assert list(baselines) == ["mine", f"trial-{best.number}"]
    winner = baselines[f"trial-{best.number}"]
    assert winner == {name: getattr(best.hyperparameters, name) for name in winner}
    assert set(winner) >= {"kl_weight", "clip_low", "clip_high", "annealing_epochs", "l2", "encoder_dropout"}


def test_the_exported_settings_are_a_python_file(exported: tuple[Path, "Called"]) -> None:
    text = (exported[0] / "vae_settings.py").read_text()
    compile(text, "vae_settings.py", "exec")
    assert "On 8 fresh seeds it ended at a KL of" in text


def test_an_export_replaces_nothing_unasked_and_only_its_own_files_when_forced(
    finished: "Finished", klsearch: Klsearch, tmp_path: Path
) -> None:
    (tmp_path / "best.toml").write_text("mine\n")
    (tmp_path / "notes.txt").write_text("mine too\n")
    refused = klsearch("export", finished.folder, tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert f"{tmp_path} is not empty; give --force to replace " in refused.err
    assert "Loading" not in refused.err, "before anything is trained"
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "file", "is a file; name a folder."), (tmp_path / "file" / "in", "is a file.")):
        refused = klsearch("export", finished.folder, folder)
        assert (refused.code, refused.err.endswith(f"{why}\n"), "Loading" in refused.err) == (2, True, False)
    assert (tmp_path / "best.toml").read_text() == "mine\n"
    assert klsearch("export", finished.folder, tmp_path, "--force").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "notes.txt", "file"}
    assert (tmp_path / "notes.txt").read_text() == "mine too\n"
    assert "[study]" in (tmp_path / "best.toml").read_text()
    assert klsearch("export", finished.folder, tmp_path / "notes.txt").code == 2


def test_an_export_of_other_data_than_the_study_s_is_refused(
    finished_copy: "Finished", klsearch: Klsearch, tmp_path: Path
) -> None:
    """The stored definition names the data where they were when the study ran: there they are changed, and put back."""
    study = load_study(known_place(str(finished_copy.folder), storage=None, study=None))
    rows = Path(study.definition.data.source)
    before = rows.read_text()
    try:
        rows.write_text("\n".join(before.splitlines()[:-1]) + "\n")
        called = klsearch("export", finished_copy.folder, tmp_path / "out")
    finally:
        rows.write_text(before)
    assert called.code == 2
    assert "the rows are not those that the study was trained on" in called.err
    assert not (tmp_path / "out").exists()


def test_the_scaler_encodes_and_decodes_a_table_with_plain_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": range(20, 40), "pet": ["cat", "dog", "ape", "dog"] * 5, "split": ["train"] * 20})
    frame.loc[10:14, "split"], frame.loc[15:, "split"] = "validation", "test"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    dataset = load_dataset(Request(source="rows.csv", folder=tmp_path, split_column="split"))
    scaler = json.loads(describe_scaling(dataset))

    encoded = pd.DataFrame(
        {
            name: frame[column["name"]] if column["kind"] != "category" else (frame["pet"] == word).astype(float)
            for column in scaler["table"]
            for word in column["categories"] or [""]
            for name in [f"{column['name']}={word}" if word else column["name"]]
        }
    )[scaler["columns"]]
    scaled = ((encoded - scaler["offset"]) / scaler["scale"]).to_numpy(np.float32)
    assert np.array_equal(scaled[:10], dataset.train[:])
    assert np.array_equal(scaled[15:], dataset.test[:])

    raw = pd.DataFrame(scaled * scaler["scale"] + scaler["offset"], columns=scaler["columns"])
    words = [f"pet={word}" for word in scaler["table"][1]["categories"]]
    assert [word.removeprefix("pet=") for word in raw[words].idxmax(axis=1).astype(str)] == frame["pet"].tolist()
    assert np.allclose(raw["age"], frame["age"])


MIXED = """\
[study]
name = "people"
trials = 3

[data]
source = "people.csv"
missing = "mask"
columns = { visits = "count" }

[model]
kind = "dense"
hidden = [16]
latent_dim = 2
likelihood = "mixed"

[training]
epochs = 12
batch_size = 32

[space]
kl_weight = { low = 0.01, high = 1.0, log = true }
"""


def test_a_mixed_table_is_searched_repeated_and_taken_home(klsearch: Klsearch, tmp_path: Path) -> None:
    """With gaps, a word that is rare, and the reconstruction that the note tells of worked out as it says."""
    rng = np.random.default_rng(0)
    drive = rng.normal(size=240)
    people = pd.DataFrame(
        {
            "age": np.where(rng.uniform(size=240) < 0.1, np.nan, 40 + 10 * drive),
            "town": np.where(drive > 0, "Bonn", rng.choice(["Bonn", "Köln", "Mainz"], 240)),
            "visits": rng.poisson(np.exp(1 + drive)),
            "smokes": drive + rng.normal(size=240) > 0,
        }
    )
    people.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "people.toml").write_text(MIXED)
    run = tmp_path / "run"
    assert klsearch("run", tmp_path / "people.toml", "--no-confirm", "--slots", 2, "--out", run).code == 0
    assert "bit for bit" in klsearch("reproduce", run, 0).out
    called = klsearch("export", run, tmp_path / "best")
    assert called.code == 0, called.err
    expression = re.search(r"a reconstruction is (.+)\.$", called.out, re.MULTILINE)
    assert expression is not None
    encoder, decoder = (keras.models.load_model(tmp_path / "best" / f"{name}.keras") for name in ("encoder", "decoder"))
    scaler = json.loads((tmp_path / "best/scaler.json").read_text())
    assert [column["kind"] for column in scaler["table"]] == ["number", "category", "count", "truth value"]
    output = decoder(encoder(np.array([[0.5, 1, 0, 0, 3, 1]], np.float32))[0])
    age, *town, visits, smokes = np.asarray(eval(expression[1], {"keras": keras, "output": output}))[0]
    assert sum(town) == pytest.approx(1)
    assert visits > 0 and 0 < smokes < 1 and np.isfinite(age)


def test_the_scaler_says_how_a_condition_becomes_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": range(40), "ward": ["b", "a"] * 20, "age": np.linspace(20.5, 80, 40)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    dataset = load_dataset(Request(source="rows.csv", folder=tmp_path, condition=("ward", "age")))
    told = json.loads(describe_scaling(dataset))["condition"]
    assert told["columns"] == ["ward=a", "ward=b", "age"]
    ward, age = told["table"]
    encoded = np.column_stack(
        [*(frame["ward"] == word for word in ward["categories"]), (frame["age"] - age["offset"]) / age["scale"]]
    ).astype(np.float32)
    assert dataset.conditions is not None
    of_splits = np.concatenate([dataset.conditions[name] for name in dataset.splits])
    assert sorted(map(tuple, encoded.tolist())) == sorted(map(tuple, of_splits.tolist()))


def test_a_table_with_gaps_is_filled_as_the_scaler_says(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    rows[::7, 1] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    dataset = load_dataset(Request(source="rows.npy", folder=tmp_path), missing="mask", scaling="minmax")
    scaler = json.loads(describe_scaling(dataset))
    assert scaler["missing"].startswith("after scaling, a missing value is what 'filling' has in its place")
    assert scaler["filling"] == pytest.approx(np.nanmean(dataset.train[:], axis=0), rel=1e-6)


def test_the_notes_say_how_rows_with_gaps_are_filled_before_a_model_is_given_them(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    rows[::7, 1] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    dataset = load_dataset(Request(source="rows.npy", folder=tmp_path), missing="mask", scaling="none")
    (note,) = gap_notes(dataset)
    filling = np.array(json.loads(describe_scaling(dataset))["filling"], np.float32)
    filled = np.asarray(eval(note.rpartition("scaling: ")[2], {"keras": keras, "rows": rows, "filling": filling}))
    assert not np.isnan(filled).any()
    assert np.all(filled[::7, 1] == filling[1])
    np.testing.assert_array_equal(filled[1:7], rows[1:7])


@pytest.mark.parametrize("scaling", ["minmax", "tokens"])
def test_where_nothing_is_missing_after_scaling_neither_scaler_nor_snippet_fill_anything(
    tmp_path: Path, scaling: str
) -> None:
    """Gaps are masked, but there are none: missing tokens are padding."""
    rows = np.array([[0, 1], [2, 3], [3, 2], [1, 0], [0, 2]] * 20, np.float32)
    rows[0, 0] = np.nan if scaling == "tokens" else 0
    np.save(tmp_path / "rows.npy", rows)
    dataset = load_dataset(Request(source="rows.npy", folder=tmp_path), missing="mask", scaling=scaling)
    assert filling_of(dataset) is None
    assert gap_notes(dataset) == []
    assert "filling" not in json.loads(describe_scaling(dataset))


def test_an_export_that_is_cut_off_leaves_nothing_and_one_that_is_not_comes_whole(tmp_path: Path) -> None:
    folder = tmp_path / "best"

    def cut_off(path: Path) -> None:
        assert not folder.exists()
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _write({"a": lambda path: path.write_text("a"), "b": cut_off}, folder)
    assert list(tmp_path.iterdir()) == []
    _write({name: lambda path: path.write_text(path.name) for name in "ab"}, folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "a", "b": "b"}
    assert list(tmp_path.iterdir()) == [folder]


def test_models_of_one_s_own_that_keras_cannot_copy_or_save_are_told_in_one_line() -> None:
    own = ModelSection(kind="my_vae:build", latent_dim=2)
    with pytest.raises(UsageError, match=r"^the models of my_vae:build cannot be copied and saved by Keras \(Ty"):
        with _tell_uncopied(own):
            raise TypeError("Cannot serialize object functools.partial")
    with pytest.raises(UsageError, match=r"give it a get_config\(\)"), _tell_uncopied(own):
        raise NotImplementedError
    with pytest.raises(FileNotFoundError), _tell_uncopied(own):
        raise FileNotFoundError
    with pytest.raises(TypeError), _tell_uncopied(ModelSection(kind="dense", hidden=(4,), latent_dim=2)):
        raise TypeError("an error of ours")


TUTORIAL = """\
import keras
from keras import layers, ops


class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class VAE(keras.Model):
    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder

    def train_step(self, data):
        raise AssertionError("their train_step is not called")


def build_vae():
    rows, z = keras.Input((8, 8, 1)), keras.Input((2,))
    h = layers.Dense(16, activation="relu")(layers.Flatten()(rows))
    z_mean, z_log_var = layers.Dense(2, name="z_mean")(h), layers.Dense(2, name="z_log_var")(h)
    encoder = keras.Model(rows, [z_mean, z_log_var, Sampling()([z_mean, z_log_var])], name="encoder")
    image = layers.Reshape((8, 8, 1))(layers.Dense(64, activation="sigmoid")(layers.Dense(16, activation="relu")(z)))
    return VAE(encoder, keras.Model(z, image, name="decoder"))
"""
TAKEN_HOME = """
import json, sys
import keras, numpy as np
import tutorial
encoder = keras.models.load_model("best/encoder.keras", {given})
decoder = keras.models.load_model("best/decoder.keras")
scaler = json.load(open("best/scaler.json"))
rows = (np.load("digits.npy")[..., np.newaxis] - scaler["offset"]) / scaler["scale"]
z_mean, z_log_var, z = encoder(rows)
np.savez("given.npz", z_mean=z_mean, z_log_var=z_log_var, z=z, rows=rows, reconstruction=decoder(z_mean))
assert not any(name.partition(".")[0] == "klsearch" for name in sys.modules)
"""


@pytest.mark.slow("searches with a model of one's own")
def test_a_tutorial_s_vae_is_searched_as_it_is_and_taken_home_as_it_was(
    klsearch: Klsearch, work: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models load in Keras alone, by what the export says; their output is that of the training."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (work / "tutorial.py").write_text(TUTORIAL)
    np.save(work / "digits.npy", load_digits().images[:300].astype(np.float32))
    write(
        work,
        ("trials = 24", "trials = 2"),
        ('source = "rows.csv"', 'source = "digits.npy"'),
        ('kind = "dense"\nhidden = [16]', 'kind = "tutorial.py:build_vae"\nlikelihood = "bernoulli"'),
        ("latent_dim = 3", "latent_dim = 2"),
        ("kl_weight = { low = 1e-3, high = 10.0, log = true }", "kl_weight = 0.1\nclip_high = { low = -2, high = -1 }"),
        ("encoder_dropout = { low = 0.0, high = 0.4 }\n", ""),
        ("seeds = 8\ntop = 2", "seeds = 0"),
    )
    called = klsearch("run", "tiny.toml", "--out", "run", "--slots", 2)
    assert called.code == 0, called.err
    assert "note: tutorial.py:build_vae: of the encoder's outputs 'sampling' is left out" in called.err
    called = klsearch("export", "run", "best")
    assert called.code == 0, called.err
    assert "with the stored result bit for bit" in called.out

    (given,) = re.findall(r"encoder\.keras needs your layer tutorial\.Sampling: load it with (.*)\.$", called.out, re.M)
    home = subprocess.run(
        [sys.executable, "-c", TAKEN_HOME.replace("{given}", given)],
        cwd=work,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert home.returncode == 0, home.stderr
    given_back = np.load(work / "given.npz")
    settings = SimpleNamespace(**runpy.run_path(str(work / "best" / "vae_settings.py")))
    mean, log_var = given_back["z_mean"], given_back["z_log_var"]
    assert log_var.max() <= settings.CLIP_HIGH < -1
    noise = (given_back["z"] - mean) / np.exp(log_var / 2)
    assert np.std(noise) == pytest.approx(1, abs=0.1), "600 draws, at the clipped variance"
    rows, reconstruction = given_back["rows"], given_back["reconstruction"]
    assert 0 < reconstruction.min() < reconstruction.max() < 1, "it ends in their sigmoid"
    study = load_study(known_place("run", storage=None, study=None))
    best = summarize(study).best
    assert best is not None and best.measures is not None
    unexplained = np.sum((reconstruction - rows) ** 2) / np.sum((rows - rows.mean(axis=0)) ** 2)
    assert unexplained == pytest.approx(best.measures.unexplained, rel=0.3)
