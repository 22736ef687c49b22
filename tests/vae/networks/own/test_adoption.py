"""Five public styles of VAE, trained as they are and given back as they were brought."""

import importlib.util
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.evaluation.plain_keras import PlainModels, plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.adoption import ModelFaults, adopt
from klsearch.vae.networks.own.fresh import making_models
from klsearch.vae.networks.own.pairs import Pair, find_pair, load_saved
from klsearch.vae.networks.stacking import initial_values
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

SETTINGS = Hyperparameters(kl_weight=0.3, clip_low=-3.0, clip_high=0.5, encoder_dropout=0.1, learning_rate=5e-3)
EPOCHS = 12


def _load_styles() -> ModuleType:
    """The module of the styles, which lies in no package."""
    spec = importlib.util.spec_from_file_location("vae_styles", Path(__file__).with_name("styles.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["vae_styles"] = module
    spec.loader.exec_module(module)
    return module


styles = _load_styles()


def adopted(
    named: Any,
    rows: np.ndarray,
    *,
    latent_dim: int = styles.LATENT_DIM,
    likelihood: Likelihood = BERNOULLI,
    **options: Any,
) -> Network:
    with making_models():
        pair = find_pair(named, rows.shape[1:], latent_dim, {})
        return adopt(pair, rows, latent_dim, likelihood=likelihood, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One way to write a VAE, and what is to be said of it."""

    shape: tuple[int, ...]
    notes: tuple[str, ...]
    outputs: int
    dropout: str | None = None
    ends_in_sigmoid: bool = True


STYLES = {
    "keras example": Style(
        shape=(8, 8), outputs=3, notes=("'sampling' is left out", "the decoder's sigmoid is left out in training")
    ),
    "tensorflow tutorial": Style(shape=(8, 8), outputs=1, notes=("the first 4 are taken",), ends_in_sigmoid=False),
    "added loss": Style(shape=(64,), outputs=2, dropout="dropout", notes=("(KlDivergence) adds a KL of its own",)),
    "subclass": Style(shape=(64,), outputs=3, dropout="dropout", notes=("is left out: samples are drawn",)),
    "saved file": Style(shape=(8, 8), outputs=2, notes=("comes with trained weights",)),
}


def brought(name: str, folder: Path) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "keras example": styles.keras_example,
        "tensorflow tutorial": lambda: styles.Cvae,
        "added loss": lambda: styles.dense_with_added_loss,
        "subclass": lambda: styles.Subclassed,
        "saved file": lambda: load_saved(styles.save_trained(folder / "vae.keras")),
    }
    return makers[name]()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A style, trained."""

    style: Style
    network: Network
    population: Population
    rows: np.ndarray

    @property
    def member(self) -> Members:
        return self.population.member(0)


@pytest.fixture(scope="module", params=STYLES)
def trained(
    request: pytest.FixtureRequest,
    digits: dict[str, np.ndarray],
    train: Callable[[Population, int], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    style = STYLES[request.param]
    splits = {name: rows[:512].reshape(-1, *style.shape) for name, rows in digits.items()}
    with making_models():
        named = brought(request.param, tmp_path_factory.mktemp("saved"))
        pair = find_pair(named, style.shape, styles.LATENT_DIM, {})
        options: dict[str, Any] = {"searched_dropout": (style.dropout,)} if style.dropout else {}
        network = adopt(pair, splits["train"], styles.LATENT_DIM, likelihood=BERNOULLI, **options)
    population = Population(network, splits, Objective(likelihood=BERNOULLI), slots=1, batch_size=64)
    population.start(0, SETTINGS, seed=1)
    train(population, EPOCHS)
    return Trained(style=style, network=network, population=population, rows=splits["validation"])


def exported(trained: Trained) -> PlainModels:
    return plain_models(trained.network, trained.member)


def called(model: keras.Model, rows: np.ndarray) -> list[np.ndarray]:
    shaped = rows.reshape(len(rows), *model.inputs[0].shape[1:])
    return [np.asarray(output) for output in keras.tree.flatten(model(shaped))]


@pytest.mark.slow("trains five models")
def test_a_public_style_is_taken_as_it_is_and_learns(trained: Trained) -> None:
    record = trained.network.brought
    assert record is not None
    for words in trained.style.notes:
        assert any(words in note for note in record.notes), record.notes
    assert len(trained.network.searched_dropouts()) == (trained.style.dropout is not None)
    curves = trained.population.curves(0)
    assert not curves.diverged
    assert curves.reconstruction[-1] < 0.75 * curves.reconstruction[0]
    assert trained.population.measure([0], "validation")[0].unexplained < 1, "a sigmoid twice ends above 1"


@pytest.mark.slow("trains five models")
def test_what_is_exported_has_their_outputs_and_their_sigmoid(trained: Trained) -> None:
    models = exported(trained)
    outputs = called(models.encoder, trained.rows)
    opaque = not hasattr(trained.network.brought.encoder, "outputs")  # type: ignore[union-attr]
    assert len(outputs) == (2 if opaque else trained.style.outputs)
    assert bool(models.notes) is opaque
    both = np.split(outputs[0], 2, axis=1) if len(outputs) == 1 else outputs[:2]
    assert np.min(both[1]) >= SETTINGS.clip_low
    assert np.max(both[1]) <= SETTINGS.clip_high
    (given,) = called(models.decoder, both[0])
    if not trained.style.ends_in_sigmoid:
        given = 1 / (1 + np.exp(-given))
    rows = trained.rows.reshape(given.shape)
    error = np.sum((given - rows) ** 2) / np.sum((rows - rows.mean(axis=0)) ** 2)
    assert 0 <= given.min() < given.max() <= 1
    assert error < trained.population.measure([0], "validation")[0].unexplained, "the mean reconstructs better"


@pytest.mark.slow("trains five models")
def test_samples_of_an_exported_encoder_are_those_of_the_clipped_variance(trained: Trained) -> None:
    outputs = called(exported(trained).encoder, trained.rows)
    if len(outputs) < 3:
        pytest.skip("gives no sample")
    mean, log_var, z = outputs
    noise = (z - mean) / np.exp(log_var / 2)
    assert 0.9 < np.std(noise) < 1.1


@pytest.mark.slow("trains five models")
def test_the_same_models_can_be_taken_again_in_one_process(trained: Trained) -> None:
    record = trained.network.brought
    assert record is not None
    again = adopt(
        Pair(encoder=record.encoder, decoder=record.decoder), trained.rows, styles.LATENT_DIM, likelihood=GAUSSIAN
    ) if trained.style.ends_in_sigmoid else None  # fmt: skip
    if again is None:
        pytest.skip("its outputs are logits")
    latents = np.random.default_rng(0).normal(scale=10, size=(20, styles.LATENT_DIM))
    given = np.asarray(again.decoder(latents))
    assert 0 <= given.min() < given.max() <= 1, "the sigmoid is there again"
    assert again.searched_dropouts() == []


def graph(shape: tuple[int, ...] = (64,), latent_dim: int = 4) -> tuple[keras.Model, keras.Model]:
    rows, z = keras.Input(shape), keras.Input((latent_dim,))
    h = keras.layers.Dropout(0.3)(keras.layers.Dense(16, "relu")(keras.layers.Flatten()(rows)))
    h = keras.layers.Dropout(0.2, name="second")(h)
    heads = [keras.layers.Dense(latent_dim)(h) for _ in range(2)]
    image = keras.layers.Reshape(shape)(keras.layers.Dense(64)(z))
    return keras.Model(rows, heads), keras.Model(z, image)


def test_dropouts_are_chosen_by_name_or_all_and_others_keep_their_rate(digits: dict[str, np.ndarray]) -> None:
    rows = digits["train"][:64]
    chosen: list[tuple[Any, list[str]]] = [((), []), (("second",), ["second"]), ("all", ["dropout", "second"])]
    for named, names in chosen:
        network = adopted(graph, rows, likelihood=GAUSSIAN, searched_dropout=named)
        assert [layer.name for layer in network.searched_dropouts()] == names
        kept = [layer.rate for layer in network.encoder.layers if type(layer) is keras.layers.Dropout]
        assert kept == [0.3, 0.2][: 2 - len(names)]
    with pytest.raises(ValueError, match=r"holds no Dropout layer 'third' .*; it has dropout, second\.$"):
        adopted(graph, rows, likelihood=GAUSSIAN, searched_dropout=("third",))


def test_a_searched_dropout_drops_at_the_member_s_rate(digits: dict[str, np.ndarray]) -> None:
    rows = digits["train"][:64]
    network = adopted(graph, rows, likelihood=GAUSSIAN, searched_dropout="all")
    first, second = network.searched_dropouts()
    ones = np.ones((100, 50), np.float32)
    assert np.all(np.asarray(first(ones, training=True)) == 1), "its rate is no longer its own"
    first.rate.assign(0.25)
    dropped = np.mean(np.asarray(first(ones, training=True)) == 0)
    assert 0.2 < dropped < 0.3
    assert float(second.rate) == 0


def test_faults_are_told_together(digits: dict[str, np.ndarray]) -> None:
    rows = digits["train"][:64] * 7 - 3

    def faulty(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
        inputs, z = keras.Input(shape), keras.Input((latent_dim,))
        heads = [keras.layers.Dense(latent_dim, "relu")(inputs) for _ in range(2)]
        return keras.Model(inputs, heads), keras.Model(z, keras.layers.Dense(64, "sigmoid")(z))

    with pytest.raises(ModelFaults) as caught:
        adopted(faulty, rows, likelihood=GAUSSIAN)
    assert [line.split()[0] for line in caught.value.faults] == ["z_mean", "the", "the"]


def test_another_number_of_latents_is_refused(digits: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="the encoder has 4 latents, but latent_dim is 5"):
        adopted(lambda: graph(), digits["train"][:64], latent_dim=5, likelihood=GAUSSIAN)


def test_rows_are_looked_at_where_they_lie_and_may_have_gaps(digits: dict[str, np.ndarray]) -> None:
    row = np.where(np.arange(64) == 3, np.nan, digits["train"][0]).astype(np.float32)
    rows = np.broadcast_to(row, (200_000, 64))
    tracemalloc.start()
    adopted(styles.dense_with_added_loss, rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * rows.nbytes, "no copy of them all"


class Linear(keras.layers.Layer):
    """A layer of the user's own, which names its initializer only where it adds its weights."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.add_weight(shape=(shape[-1], 16), initializer="random_normal", trainable=True)
        self.b = self.add_weight(shape=(16,), initializer="zeros", trainable=True)

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(inputs, self.w) + self.b


def test_weights_of_a_layer_of_their_own_are_drawn_again_for_each_trial(digits: dict[str, np.ndarray]) -> None:
    def build(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
        inputs, z = keras.Input(shape), keras.Input((latent_dim,))
        h = Linear()(inputs)
        heads = [keras.layers.Dense(latent_dim)(h) for _ in range(2)]
        return keras.Model(inputs, heads), keras.Model(z, keras.layers.Dense(64)(z))

    draw = initial_values(adopted(build, digits["train"][:64], likelihood=GAUSSIAN))
    one, same, other = (np.asarray(draw(key)[0]) for key in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.std() == pytest.approx(0.05, rel=0.1)
    assert not np.allclose(one, other)


def test_a_loaded_encoder_may_hold_the_operation_that_cuts_it_in_two(tmp_path: Path) -> None:
    with making_models():
        inputs = keras.Input((4,))
        halves = keras.ops.split(keras.layers.Dense(8)(inputs), 2, axis=1)
        encoder = keras.Model(inputs, keras.layers.Dense(4)(keras.ops.multiply(*halves)))
        encoder.save(tmp_path / "encoder.keras")
    with making_models():  # as in a process of its own
        loaded = keras.models.load_model(tmp_path / "encoder.keras")
        decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        rows = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
        network = adopt(Pair(encoder=loaded, decoder=decoder), rows, 2)
    assert [tuple(head.shape) for head in network.encoder.outputs] == [(None, 2), (None, 2)]
