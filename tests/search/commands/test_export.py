"""The winner, taken away."""

import json
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from klsearch.search.commands.export import _write, describe_scaling, filling_of, settings_snippet
from klsearch.search.storage.place import known_place
from klsearch.search.storage.records import load_study
from klsearch.studies.definitions.data import load_data
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.candidates import runs_of
from klsearch.vae.data.datasets import load_dataset
from klsearch.vae.data.readers.raw import Request
from klsearch.vae.diagnostics.gates import final_kl
from klsearch.vae.evaluation.plain_keras import plain_models
from klsearch.vae.hyperparameters import BEFORE, Hyperparameters
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.network import dense_network, with_learned_columns
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population
from klsearch.vae.training.schedules import SHAPES, KlSchedule, kl_weight_at

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Workshop

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


SETTINGS = Hyperparameters(kl_weight=0.3, clip_low=-1.0, clip_high=0.5, annealing_epochs=4, l2=0.01, clipnorm=2.0)


ROWS = np.array([[0.0, 1.0], [0.5, 0.25]], np.float32)


OUTPUT = np.array([[0.5, 0.5], [-1.0, 2.0]], np.float32)


def module(text: str) -> Any:
    made = ModuleType("vae_settings")
    exec(compile(text, "vae_settings.py", "exec"), made.__dict__)
    return made


@pytest.fixture
def snippet(definition_file: Path) -> Callable[..., Any]:
    """The file as a module, of settings and changes to the small study's definition."""

    def make(settings: Hyperparameters, *changes: tuple[str, str], shape: tuple[int, ...] = (2,), **given: Any) -> Any:
        toml = definition_file.read_text()
        for old, new in changes:
            toml = toml.replace(old, new)
        definition = parse_definition(toml, "tiny.toml")
        return module(settings_snippet(definition, settings, trial=7, expected="", shape=shape, **given))

    return make


@pytest.mark.parametrize(("reduction", "per_feature"), [("sum", 1.0), ("mean", 0.5)])
def test_the_reconstruction_is_that_of_the_definition(
    reduction: str, per_feature: float, snippet: Callable[..., Any]
) -> None:
    to = f'latent_dim = 3\nreconstruction_reduction = "{reduction}"'
    gaussian = snippet(SETTINGS, ("latent_dim = 3", to))
    squared = (0.25 + 0.25 + 2.25 + 3.0625) / 2  # summed over features, mean over rows
    assert float(gaussian.reconstruction(ROWS, OUTPUT)) == pytest.approx(squared * per_feature)
    bernoulli = snippet(SETTINGS, ("latent_dim = 3", f'{to}\nlikelihood = "bernoulli"'))
    logits, rows = OUTPUT.astype(np.float64), ROWS.astype(np.float64)
    entropy = np.mean(np.sum(np.log1p(np.exp(logits)) - rows * logits, axis=1))
    assert float(bernoulli.reconstruction(ROWS, OUTPUT)) == pytest.approx(entropy * per_feature, rel=1e-5)


@pytest.mark.parametrize(
    ("reduction", "expected"), [("mean", (0.5 + 0.5 * (math.e - 2)) / 2), ("sum", math.e / 2 - 0.5)]
)
def test_the_kl_is_that_of_the_definition(reduction: str, expected: float, snippet: Callable[..., Any]) -> None:
    """One latent has μ = 1 and lv = 0, so ½; the other μ = 0 and lv = 1, so ½(e − 2)."""
    made = snippet(SETTINGS, ('name = "tiny"', f'name = "tiny"\nkl_reduction = "{reduction}"'))
    mean, log_var = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    assert float(made.kl(mean, log_var)) == pytest.approx(expected)


def test_the_kl_weight_rises_as_in_the_search(snippet: Callable[..., Any]) -> None:
    steps = np.array([0, 1, 7, 19, 20, 500])
    expected = kl_weight_at(steps, kl_weight=0.3, annealing_epochs=4, steps_per_epoch=5)
    annealed = snippet(SETTINGS)
    assert [float(annealed.kl_weight_at(step, 5)) for step in steps] == pytest.approx(expected.tolist())
    assert snippet(Hyperparameters(kl_weight=0.3)).kl_weight_at(0, 5) == 0.3


@pytest.mark.parametrize("shape", SHAPES)
def test_the_kl_weight_rises_in_the_definition_s_shape(shape: str, snippet: Callable[..., Any]) -> None:
    text = f'[training]\nkl_schedule = "{shape}"' + ("\ncycles = 2\nramp_share = 0.75" if shape == "cyclical" else "")
    made = snippet(SETTINGS, ("[training]", text))
    schedule = KlSchedule(shape=shape, cycles=2, ramp_share=0.75)
    steps = np.array([0, 1, 3, 7, 9, 10, 13, 19, 20, 500])
    expected = kl_weight_at(steps, kl_weight=0.3, annealing_epochs=4, steps_per_epoch=5, schedule=schedule)
    assert [float(made.kl_weight_at(step, 5)) for step in steps] == pytest.approx(expected.tolist(), abs=1e-6)


def test_free_bits_are_the_least_that_a_latent_costs(snippet: Callable[..., Any]) -> None:
    """The latents' KL is ½ and 0, mean over the rows: the second is raised to ¼."""
    made = snippet(Hyperparameters(kl_weight=0.3, free_bits=0.25))
    mean = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    assert float(made.kl(mean, np.zeros((2, 2), np.float32))) == pytest.approx((0.5 + 0.25) / 2)


def test_bounds_regularisation_and_optimizer_are_the_settings(snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS)
    assert made.clip(np.array([-9.0, 0.0, 9.0], np.float32)).numpy().tolist() == [-1.0, 0.0, 0.5]
    inputs = keras.Input((7,))
    heads = keras.Model(inputs, made.latent_heads(inputs))
    weights = [np.full((7, 3), 2.0), np.zeros(3)]
    heads.set_weights([*weights, *weights])
    assert float(sum(heads.losses)) == pytest.approx(2 * 0.01 * 4 * 21)
    assert float(made.optimizer().learning_rate) == pytest.approx(1e-3)
    assert made.optimizer().clipnorm == 2.0
    free = snippet(BEFORE)
    assert free.clip(np.array([-99.0, 99.0], np.float32)).numpy().tolist() == [-99.0, 99.0]
    assert free.optimizer().clipnorm is None


@pytest.mark.parametrize(("name", "kind"), [("adamw", "AdamW"), ("rmsprop", "RMSprop"), ("sgd", "SGD")])
def test_the_optimizer_is_that_of_the_definition(name: str, kind: str, snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS, ("epochs = 12", f'epochs = 12\noptimizer = "{name}"'))
    assert type(made.optimizer()).__name__ == kind
    assert not hasattr(made, "schedule")
    assert "callbacks" not in made.__doc__


def test_a_learning_rate_that_falls_is_a_callback(snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS, ("epochs = 12", 'epochs = 12\nlearning_rate_schedule = "cosine"'))
    at = made.schedule().schedule
    assert [at(epoch, None) for epoch in (0, 6, 12, 50)] == pytest.approx(
        [made.LEARNING_RATE * share for share in (1, 0.505, 0.01, 0.01)]
    )
    assert "vae.fit(rows, batch_size=BATCH_SIZE, epochs=EPOCHS, callbacks=[schedule()])" in made.__doc__


def test_it_says_where_the_settings_come_from_in_any_letters(snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS, ('name = "tiny"', 'name = "größe 大 it\'s"'))
    assert "\nFrom klsearch: trial 7 of study 'größe 大 it's'.\n" in made.__doc__


@pytest.mark.slow("trains with plain Keras")
def test_plain_keras_reaches_the_same_kl_with_them(workshop: "Workshop") -> None:
    """Three trainings of Keras's own `fit` against four members of a population, within the noise of their seeds."""
    settings = Hyperparameters(
        kl_weight=1.0,  # at which no latent collapses on some seeds and not on others
        clip_low=-3.0,
        clip_high=1.0,
        annealing_epochs=4,
        l2=1e-3,
        encoder_dropout=0.1,
        learning_rate=0.01,
    )
    made = module(settings_snippet(workshop.definition, settings, trial=7, expected="", shape=(6,)))
    population, rows = workshop.population, workshop.dataset.splits
    for slot in range(4):
        population.start(slot, settings, slot)
    for _ in range(made.EPOCHS):
        while not population.advance():
            pass
    members = [final_kl(population.curves(slot), 2) for slot in range(4)]
    for slot in range(4):
        population.stop(slot)
    plain = [plain_kl(made, seed, rows["train"][:], rows["validation"][:]) for seed in range(3)]
    noise = math.sqrt(np.var(members, ddof=1) / 4 + np.var(plain, ddof=1) / 3)  # of the difference of the two means
    assert np.mean(plain) == pytest.approx(np.mean(members), abs=4 * noise), (plain, members)
    made.KL_WEIGHT *= 2
    other = plain_kl(made, 0, rows["train"][:], rows["validation"][:])
    assert abs(other - np.mean(members)) > 4 * noise, ("twice the weight must show", other)


def plain_kl(made: Any, seed: int, train: np.ndarray, validation: np.ndarray) -> float:
    """The final validation KL of a training in plain Keras, taken over the last two epochs as in the study."""
    keras.utils.set_random_seed(seed)
    inputs, latents = keras.Input((6,)), keras.Input((made.LATENT_DIM,))
    h = keras.layers.Dropout(made.ENCODER_DROPOUT)(keras.layers.Dense(16, activation="relu")(inputs))
    decoder = keras.Model(latents, keras.layers.Dense(6)(keras.layers.Dense(16, activation="relu")(latents)))
    vae = made.VAE(keras.Model(inputs, made.latent_heads(h)), decoder, rows=len(train))
    vae.compile(made.optimizer())
    history = vae.fit(
        train, batch_size=made.BATCH_SIZE, epochs=made.EPOCHS, validation_data=(validation,), verbose=0
    ).history
    return float(np.mean(history["val_kl"][-2:]))


@pytest.mark.slow("trains with plain Keras")
@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_a_decoder_that_plain_keras_loads_is_scored_by_the_settings_as_in_the_search(
    likelihood: Likelihood, snippet: Callable[..., Any], tmp_path: Path
) -> None:
    """And what the settings say of a decoder suffices for one of the user's own, that learns."""
    made = snippet(SETTINGS, ("latent_dim = 3", f'latent_dim = 3\nlikelihood = "{likelihood.name}"'), shape=(6,))
    rng = np.random.default_rng(0)
    rows = rng.poisson(np.exp(rng.normal(size=(200, 1)) + np.linspace(-1, 1, 6))).astype(np.float32)
    rows[:, 5] += 1  # so that none holds nothing but zeros
    rows = np.minimum(rows, 1) if likelihood.name == "bernoulli" else rows
    rows = np.eye(6, dtype=np.float32)[np.argmax(rows, axis=1)] if likelihood.name == "categorical" else rows
    outputs = len(likelihood.parts)
    built = dense_network((6,), 3, hidden=[16], outputs=outputs, log_input=likelihood.log_input)
    network = with_learned_columns(built, likelihood.column_parts)
    splits, objective = {"train": rows, "validation": rows}, Objective(likelihood=likelihood)
    population = Population(network, splits, objective, slots=2, batch_size=50)
    for slot in range(2):
        population.start(slot, BEFORE, slot)
    while not population.advance():
        pass
    models = plain_models(network, population.member(0))
    for name in ("encoder", "decoder"):
        getattr(models, name).save(tmp_path / f"{name}.keras")
    code = (
        "import sys, keras, numpy as np; rows = np.load('rows.npy')\n"
        "encoder, decoder = (keras.models.load_model(f'{name}.keras') for name in ('encoder', 'decoder'))\n"
        "np.save('output.npy', decoder(encoder(rows)[0])); assert 'klsearch' not in sys.modules"
    )
    np.save(tmp_path / "rows.npy", rows)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": ""})
    output = np.load(tmp_path / "output.npy")
    expected = likelihood.error(tf.constant(rows), tf.constant(output.reshape(200, -1))).numpy().sum(axis=1).mean()
    assert float(made.reconstruction(rows, output)) == pytest.approx(float(expected), rel=1e-4)

    inputs, latents = keras.Input((6,)), keras.Input((3,))
    taken = keras.ops.log1p(inputs) if likelihood.log_input else inputs
    given = keras.layers.Dense(6 * outputs)(keras.layers.Dense(16, activation="relu")(latents))
    given = keras.layers.Reshape((6, outputs))(given) if outputs > 1 else given
    if likelihood.column_parts:
        given = made.with_learned_columns(latents, given)
    encoder = keras.Model(inputs, made.latent_heads(keras.layers.Dense(16, activation="relu")(taken)))
    vae = made.VAE(encoder, keras.Model(latents, given), rows=len(rows))
    vae.compile(keras.optimizers.Adam(1e-2))
    losses = vae.fit(rows, batch_size=50, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < losses[4] < losses[0]
    for name, start in likelihood.column_parts.items():
        assert np.all(vae.decoder.get_layer(name).bias.numpy() != start), "each column's is learned"


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
    assert "filling" not in json.loads(describe_scaling(dataset))


def test_the_snippet_of_masked_data_neither_sees_nor_scores_missing_values(snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS, masks=True)
    known = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert float(made.reconstruction(ROWS, OUTPUT, known)) == pytest.approx((0.25 + 3.0625) / 2)
    inputs, latents = keras.Input((2,)), keras.Input((made.LATENT_DIM,))
    vae = made.VAE(
        keras.Model(inputs, made.latent_heads(inputs)),
        keras.Model(latents, keras.layers.Dense(2)(latents)),
        rows=64,
        filling=[0.0, 0.5],
    )
    vae.compile(made.optimizer())
    rows = np.tile(np.array([[0.0, np.nan], [np.nan, 0.25]], np.float32), (32, 1))
    assert np.all(np.isfinite(vae.fit(rows, batch_size=32, epochs=2, verbose=0).history["loss"]))
    assert all(np.all(np.isfinite(values)) for values in vae.get_weights())


@pytest.mark.parametrize("masks", [False, True])
def test_the_snippet_of_a_conditional_study_takes_the_condition_second(
    snippet: Callable[..., Any], masks: bool
) -> None:
    made = snippet(
        SETTINGS,
        ('source = "rows.csv"', 'source = "rows.csv"\ncondition = ["ward"]'),
        condition_width=3,
        masks=masks,
    )
    assert "vae.fit([rows, condition]," in made.__doc__
    inputs, latents, told = keras.Input((2,)), keras.Input((made.LATENT_DIM,)), keras.Input((3,))
    beside = keras.layers.Concatenate()
    vae = made.VAE(
        keras.Model([inputs, told], made.latent_heads(beside([inputs, told]))),
        keras.Model([latents, told], keras.layers.Dense(2)(beside([latents, told]))),
        rows=64,
        **({"filling": [0.0, 0.5]} if masks else {}),
    )
    vae.compile(keras.optimizers.Adam(0.1))
    condition = np.eye(3, dtype=np.float32)[np.arange(96) % 3]
    rows = condition[:, :2] * 5  # which the condition alone gives away
    losses = vae.fit([rows, condition], batch_size=32, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


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
    settings = module((work / "best" / "vae_settings.py").read_text())
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
