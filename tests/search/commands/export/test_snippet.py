"""The settings found, as a Python file."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.search.commands.export.snippet import settings_snippet
from klsearch.studies.definitions.parsing import parse_definition
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
    from tests.search.conftest import Workshop

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

SETTINGS = Hyperparameters(kl_weight=0.3, clip_low=-1.0, clip_high=0.5, annealing_epochs=4, l2=0.01, clipnorm=2.0)


ROWS = np.array([[0.0, 1.0], [0.5, 0.25]], np.float32)


OUTPUT = np.array([[0.5, 0.5], [-1.0, 2.0]], np.float32)


def dense_vae(made: Any) -> Any:
    """A model for `ROWS` of the file's own parts."""
    inputs, latents = keras.Input((2,)), keras.Input((made.LATENT_DIM,))
    h = keras.layers.Dropout(made.ENCODER_DROPOUT)(keras.layers.Dense(8)(inputs))
    return made.VAE(keras.Model(inputs, made.latent_heads(h)), keras.Model(latents, keras.layers.Dense(2)(latents)))


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


def test_the_kl_weight_rises_in_the_shape_of_the_settings_where_they_have_one(snippet: Callable[..., Any]) -> None:
    made = snippet(replace(SETTINGS, kl_schedule="cosine"), ("[training]", '[training]\nkl_schedule = "sigmoid"'))
    steps = np.array([0, 1, 7, 13, 19, 20, 500])
    schedule = KlSchedule(shape="cosine")
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
    inputs, latents = keras.Input((7,)), keras.Input((3,))
    vae = made.VAE(keras.Model(inputs, made.latent_heads(inputs)), keras.Model(latents, keras.layers.Dense(7)(latents)))
    vae.encoder.set_weights([np.full((7, 3), 2.0), np.zeros(3)] * 2)
    *_, penalty, _ = vae.terms(np.zeros((4, 7), np.float32), training=True)
    assert float(penalty) == pytest.approx(2 * 0.01 * 4 * 21)
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
    assert "schedule()" not in made.__doc__


def test_a_learning_rate_that_falls_is_a_callback(snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS, ("epochs = 12", 'epochs = 12\nlearning_rate_schedule = "cosine"'))
    at = made.schedule().schedule
    assert [at(epoch, None) for epoch in (0, 6, 12, 50)] == pytest.approx(
        [made.LEARNING_RATE * share for share in (1, 0.505, 0.01, 0.01)]
    )
    vae = dense_vae(made)
    vae.compile(made.optimizer())
    rates = vae.fit(np.zeros((8, 2), np.float32), epochs=3, verbose=0).history["learning_rate"]
    assert rates == pytest.approx([at(epoch, None) for epoch in range(3)])
    assert 'callbacks=[KLAnnealing("beta"), schedule()])' in made.__doc__


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
    vae = made.VAE(keras.Model(inputs, made.latent_heads(h)), decoder)
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
    vae = made.VAE(encoder, keras.Model(latents, given))
    vae.compile(keras.optimizers.Adam(1e-2))
    losses = vae.fit(rows, batch_size=50, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < losses[4] < losses[0]
    for name, start in likelihood.column_parts.items():
        assert np.all(vae.decoder.get_layer(name).bias.numpy() != start), "each column's is learned"


def test_the_snippet_of_masked_data_neither_sees_nor_scores_missing_values(snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS, masks=True)
    known = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert float(made.reconstruction(ROWS, OUTPUT, known)) == pytest.approx((0.25 + 3.0625) / 2)
    inputs, latents = keras.Input((2,)), keras.Input((made.LATENT_DIM,))
    vae = made.VAE(
        keras.Model(inputs, made.latent_heads(inputs)),
        keras.Model(latents, keras.layers.Dense(2)(latents)),
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
        **({"filling": [0.0, 0.5]} if masks else {}),
    )
    vae.compile(keras.optimizers.Adam(0.1))
    condition = np.eye(3, dtype=np.float32)[np.arange(96) % 3]
    rows = condition[:, :2] * 5  # which the condition alone gives away
    losses = vae.fit([rows, condition], batch_size=32, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("shape", SHAPES)
def test_fit_anneals_the_kl_weight_epoch_by_epoch_as_the_study(shape: str, snippet: Callable[..., Any]) -> None:
    """Five steps an epoch; the weight that is logged at the end of each is that of its last step."""
    text = f'[training]\nkl_schedule = "{shape}"' + ("\ncycles = 2\nramp_share = 0.75" if shape == "cyclical" else "")
    made = snippet(SETTINGS, ("[training]", text))
    vae = dense_vae(made)
    vae.compile(made.optimizer())
    rows = np.zeros((5 * 32, 2), np.float32)
    logged = vae.fit(rows, batch_size=32, epochs=6, verbose=0).history["kl_weight"]
    schedule = KlSchedule(shape=shape, cycles=2, ramp_share=0.75)
    last = np.arange(6) * 5 + 4
    expected = kl_weight_at(last, kl_weight=0.3, annealing_epochs=4, steps_per_epoch=5, schedule=schedule)
    assert logged == pytest.approx(expected.tolist(), abs=1e-6)
    assert logged[-1] == pytest.approx(0.3)


class WithBeta(keras.Model):  # type: ignore[misc]
    """A training step of a user's own, which tells its KL weight."""

    def __init__(self, beta: Any) -> None:
        super().__init__()
        self.beta = beta

    def train_step(self, data: Any) -> dict[str, Any]:
        self.optimizer.iterations.assign_add(1)
        return {"weight": self.beta + 0.0}


def test_a_step_of_one_s_own_takes_the_annealing_as_a_callback(snippet: Callable[..., Any]) -> None:
    made, rows = snippet(SETTINGS), np.zeros((20, 2), np.float32)
    vae = WithBeta(keras.Variable(0.0, trainable=False))
    vae.compile(made.optimizer())
    told = vae.fit(rows, batch_size=4, epochs=5, verbose=0, callbacks=[made.KLAnnealing("beta")]).history["weight"]
    assert told == pytest.approx([0.3 * step / 20 for step in (4, 9, 14, 19, 20)])
    number = WithBeta(0.5)
    number.compile(made.optimizer())
    with pytest.raises(TypeError, match=r"model\.beta must be a variable: a step that is traced reads a number once"):
        number.fit(rows, verbose=0, callbacks=[made.KLAnnealing("beta")])


def test_training_before_keras_model_is_all_that_a_class_of_one_s_own_needs(snippet: Callable[..., Any]) -> None:
    made = snippet(SETTINGS)

    class Mine(made.Training, keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            other = dense_vae(made)
            self.encoder, self.decoder = other.encoder, other.decoder

    vae = Mine()
    vae.compile(keras.optimizers.Adam(0.05))
    rows = np.tile(ROWS, (16, 1))
    history = vae.fit(rows, batch_size=8, epochs=10, verbose=0, validation_data=(rows,)).history
    assert history["val_reconstruction"][-1] < history["val_reconstruction"][0]
    assert {"loss", "kl", "kl_weight", "val_kl"} <= set(history)


def test_a_short_last_batch_counts_by_its_rows(snippet: Callable[..., Any]) -> None:
    """A decoder that always gives 0 leaves 1, 4 and 81 of three rows, of which two are in the first batch."""
    vae = dense_vae(snippet(SETTINGS))
    vae.decoder.set_weights([np.zeros_like(values) for values in vae.decoder.get_weights()])
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [9.0, 0.0]], np.float32)
    vae.compile(optimizer="sgd")
    by_two = vae.evaluate(rows, batch_size=2, verbose=0, return_dict=True)
    assert by_two["reconstruction"] == pytest.approx(86 / 3)
    whole = vae.evaluate(rows, batch_size=3, verbose=0, return_dict=True)
    assert by_two == pytest.approx(whole, rel=1e-5)
