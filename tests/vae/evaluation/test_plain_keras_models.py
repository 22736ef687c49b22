"""A member's models as ordinary Keras models."""

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from klsearch.vae.evaluation.evaluator import Evaluator, Members
from klsearch.vae.evaluation.plain_keras import PlainModels, loading_notes, plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.layers import SearchedDropout
from klsearch.vae.networks.convolutional import conv_network
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.own.adoption import adopt
from klsearch.vae.networks.own.pairs import Pair
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras 3.15, NumPy 2.4
    pytest.mark.slow("trains networks of every kind"),
]

SETTINGS = Hyperparameters(kl_weight=0.1, clip_low=-0.3, clip_high=0.1, encoder_dropout=0.25, learning_rate=1e-2)
SHAPE = (6, 5)


def random_rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(size=(count, *SHAPE)).astype(np.float32)


SPLITS = {"train": random_rows(64), "validation": random_rows(24)}


def nested_network() -> Network:
    """A network as a user may write it: models within models, an operation, moving statistics, a shared layer."""
    inputs = keras.Input(SHAPE)
    block_inputs = keras.Input((30,))
    h = keras.layers.Dense(30, activation="relu")(block_inputs)
    h = SearchedDropout()(keras.layers.BatchNormalization()(h))
    block = keras.Model(block_inputs, h, name="block")
    h = block(block(keras.layers.Flatten()(inputs)))
    h = keras.ops.square(h)
    encoder = keras.Model(inputs, [keras.layers.Dense(3)(h), keras.layers.Dense(3)(h)])
    decoder = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(30, activation="sigmoid"), keras.layers.Reshape(SHAPE)]
    )
    return Network(encoder=encoder, decoder=decoder)


NETWORKS = {
    "dense": lambda: dense_network(SHAPE, 3, hidden=(13, 9), output_activation="sigmoid"),
    "conv": lambda: conv_network(SHAPE, 3, filters=(4,), hidden=(10,), output_activation="sigmoid"),
    "user's own": nested_network,
}


def own_conditional_network() -> Network:
    """A conditional network of models that a user brought."""
    made = dense_network(SHAPE, 3, hidden=(13,), condition_width=2)
    pair = Pair(encoder=made.encoder, decoder=made.decoder)
    return adopt(pair, SPLITS["train"], 3, condition=CONDITIONS["train"])


CONDITIONAL: dict[str, Callable[[], Network]] = {
    "user's own, conditional": own_conditional_network,
    "dense, conditional": lambda: dense_network(SHAPE, 3, hidden=(13, 9), condition_width=2),
    "conv, conditional": lambda: conv_network(SHAPE, 3, filters=(4,), hidden=(), condition_width=2),
}
CONDITIONS = {name: np.eye(2, dtype=np.float32)[np.arange(len(rows)) % 2] for name, rows in SPLITS.items()}


@dataclass(frozen=True, slots=True)
class Trained:
    """A network, a member that it trained for three epochs, and its plain models."""

    network: Network
    before: list[np.ndarray]
    member: Members
    models: PlainModels


MemberOf = Callable[[str], Trained]


def values(network: Network) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.encoder.variables + network.decoder.variables]


@pytest.fixture(scope="module")
def member_of(train: Callable[[Population, int], None]) -> MemberOf:
    """A function that gives the member of a kind of network; each is trained once."""

    @functools.cache
    def trained(kind: str) -> Trained:
        network = NETWORKS[kind]()
        before = values(network)
        population = Population(network, SPLITS, Objective(), slots=2, batch_size=32)
        population.start(1, SETTINGS, 3)
        train(population, 3)
        member = population.member(1)
        return Trained(network, before, member, plain_models(network, member))

    return trained


@pytest.fixture(params=list(NETWORKS))
def trained(request: pytest.FixtureRequest, member_of: MemberOf) -> Trained:
    return member_of(request.param)


@pytest.mark.parametrize("kind", CONDITIONAL)
def test_plain_models_of_a_conditional_network_take_the_condition_second(
    kind: str, train: Callable[[Population, int], None], tmp_path: Path
) -> None:
    network = CONDITIONAL[kind]()
    population = Population(network, SPLITS, Objective(), conditions=CONDITIONS, slots=2, batch_size=32)
    population.start(1, SETTINGS, 3)
    train(population, 3)
    member = population.member(1)
    models = plain_models(network, member)
    models.decoder.save(tmp_path / "decoder.keras")
    decoder = keras.models.load_model(tmp_path / "decoder.keras")
    evaluator = Evaluator(network, SPLITS, Objective(), conditions=CONDITIONS)
    outcome, told = evaluator.outcome(member, "validation", samples=1), CONDITIONS["validation"]
    mean, log_var = (np.asarray(values) for values in models.encoder([SPLITS["validation"], told]))
    np.testing.assert_allclose(mean, outcome.mean[0], rtol=1e-4, atol=1e-5)
    noise = np.random.Generator(np.random.Philox(0)).standard_normal((8, 24, 3), dtype=np.float32)[0]
    z = mean + np.exp(0.5 * log_var) * noise
    squared = np.sum((SPLITS["validation"] - np.asarray(decoder([z, told]))) ** 2, axis=(1, 2))
    np.testing.assert_allclose(squared, outcome.deviance[0], rtol=1e-4)
    assert not np.allclose(decoder([z, told]), decoder([z, told[:, ::-1]]), atol=1e-3), "the condition has a say"


def test_plain_models_compute_what_the_member_computes(trained: Trained) -> None:
    outcome = Evaluator(trained.network, SPLITS, Objective()).outcome(trained.member, "validation", samples=1)
    mean, log_var = (np.asarray(values) for values in trained.models.encoder(SPLITS["validation"]))
    np.testing.assert_allclose(mean, outcome.mean[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_var, outcome.log_var[0], rtol=1e-4, atol=1e-5)
    assert (outcome.raw_log_var[0] < -0.3).any() or (outcome.raw_log_var[0] > 0.1).any(), "clipping must have a say"
    noise = np.random.Generator(np.random.Philox(0)).standard_normal((8, 24, 3), dtype=np.float32)[0]
    output = np.asarray(trained.models.decoder(mean + np.exp(0.5 * log_var) * noise))
    squared = np.sum((SPLITS["validation"] - output) ** 2, axis=(1, 2))
    np.testing.assert_allclose(squared, outcome.deviance[0], rtol=1e-4)


def test_a_plain_encoder_drops_at_the_member_s_rate(trained: Trained) -> None:
    layers = trained.models.encoder._flatten_layers()
    assert {layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)} == {0.25}


def test_copying_leaves_the_network_as_it_was(trained: Trained) -> None:
    for before, after in zip(trained.before, values(trained.network), strict=True):
        np.testing.assert_array_equal(before, after)


LOAD = """
import sys
import keras, numpy as np
for kind in sys.argv[1:]:
    parts = ("encoder", "decoder")
    encoder, decoder = (keras.models.load_model(f"{kind}-{part}.keras", safe_mode=True) for part in parts)
    mean, log_var = encoder(np.load("rows.npy"))
    np.save(f"{kind}.npy", np.stack([mean, log_var]))
    assert decoder(mean).shape == (24, 6, 5)
assert not any(name.partition(".")[0] == "klsearch" for name in sys.modules)
"""


def test_saved_models_load_in_safe_mode_where_this_package_is_not(member_of: MemberOf, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", SPLITS["validation"])
    for kind in NETWORKS:
        models = member_of(kind).models
        assert loading_notes(models.encoder) == loading_notes(models.decoder) == []
        models.encoder.save(tmp_path / f"{kind}-encoder.keras")
        models.decoder.save(tmp_path / f"{kind}-decoder.keras")
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, *NETWORKS], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert loaded.returncode == 0, loaded.stderr
    for kind in NETWORKS:
        outputs = np.stack([np.asarray(values) for values in member_of(kind).models.encoder(SPLITS["validation"])])
        np.testing.assert_allclose(np.load(tmp_path / f"{kind}.npy"), outputs, rtol=1e-5, atol=1e-6)


class Doubled(keras.layers.Layer):
    """A layer of a user's own."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return 2 * inputs


class Halved(Doubled):
    """Another."""


@keras.saving.register_keras_serializable(package="tests")
class Registered(Doubled):
    """One that Keras knows once it is imported."""


def test_what_loading_needs_beside_keras_is_named() -> None:
    inputs = keras.Input((5,))
    h = Doubled()(keras.layers.Lambda(lambda values: values + 1, name="shift")(inputs))
    assert loading_notes(keras.Model(inputs, Registered()(Halved()(h)))) == [
        "holds code in the Lambda layer 'shift': loads only with safe_mode=False",
        f"needs your layer {__name__}.Registered: import it first",
        f"needs your layers {__name__}.Doubled and {__name__}.Halved: load it with custom_objects="
        f'{{"Doubled": {__name__}.Doubled, "Halved": {__name__}.Halved}}',
    ]


def test_importing_a_layer_of_one_s_own_is_enough_where_it_is_registered_and_only_there(tmp_path: Path) -> None:
    def saved(layer: type[Doubled]) -> Path:
        inputs = keras.Input((5,))
        keras.Model(inputs, layer()(inputs)).save(tmp_path / "model.keras")
        return tmp_path / "model.keras"

    keras.models.load_model(saved(Registered))
    file = saved(Doubled)
    with pytest.raises(TypeError, match="Could not locate class 'Doubled'"):
        keras.models.load_model(file)
    keras.models.load_model(file, custom_objects={"Doubled": Doubled})


@pytest.mark.parametrize("trained", ["dense"], indirect=True)
def test_a_member_without_clipping_keeps_its_log_variance(trained: Trained) -> None:
    bound = np.array([np.inf], np.float32)
    free = replace(trained.member, clip_low=-bound, clip_high=bound)
    outcome = Evaluator(trained.network, SPLITS, Objective()).outcome(trained.member, "validation", samples=1)
    _, log_var = plain_models(trained.network, free).encoder(SPLITS["validation"])
    np.testing.assert_allclose(log_var, outcome.raw_log_var[0], rtol=1e-4, atol=1e-5)
