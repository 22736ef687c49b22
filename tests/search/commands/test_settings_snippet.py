"""The settings as a Python file in plain Keras."""

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from klsearch.search.commands.export import settings_snippet
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.diagnostics.gates import final_kl
from klsearch.vae.hyperparameters import BEFORE, Hyperparameters
from klsearch.vae.training.schedules import kl_weight_at

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

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

    def make(settings: Hyperparameters, *changes: tuple[str, str]) -> Any:
        toml = definition_file.read_text()
        for old, new in changes:
            toml = toml.replace(old, new)
        definition = parse_definition(toml, "tiny.toml")
        return module(settings_snippet(definition, settings, trial=7, expected=""))

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
    made = module(settings_snippet(workshop.definition, settings, trial=7, expected=""))
    population, rows = workshop.population, workshop.dataset.splits
    for slot in range(4):
        population.start(slot, settings, slot)
    for _ in range(made.EPOCHS):
        while not population.advance():
            pass
    members = [final_kl(population.curves(slot), 2) for slot in range(4)]
    for slot in range(4):
        population.stop(slot)
    plain = [plain_kl(made, seed, rows["train"], rows["validation"]) for seed in range(3)]
    noise = math.sqrt(np.var(members, ddof=1) / 4 + np.var(plain, ddof=1) / 3)  # of the difference of the two means
    assert np.mean(plain) == pytest.approx(np.mean(members), abs=4 * noise), (plain, members)
    made.KL_WEIGHT *= 2
    other = plain_kl(made, 0, rows["train"], rows["validation"])
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
