"""The winner, taken away."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from klsearch.search.storage.place import known_place
from klsearch.search.storage.records import load_study
from klsearch.studies.definitions.data import load_data
from klsearch.studies.summary import runs_of, summarize

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
    assert {tuple(row) for row in scaled.tolist()} == {tuple(row) for rows in splits for row in rows.tolist()}


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
    assert (tmp_path / "best.toml").read_text() == "mine\n"
    assert klsearch("export", finished.folder, tmp_path, "--force").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "notes.txt"}
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
