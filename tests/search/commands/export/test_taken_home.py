"""The settings' file for models of every style: a step of it is a step of the study."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.search.commands.export.snippet import settings_snippet
from klsearch.search.training.models import build_network
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.evaluation.plain_keras import PlainModels, plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.as_code import own_code
from klsearch.vae.networks.streams import batch_order, noise_key
from klsearch.vae.training.population import Population

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4


def load(text: str) -> Any:
    made = ModuleType("vae_settings")
    exec(compile(text, "vae_settings.py", "exec"), made.__dict__)
    return made


def unclipped(network: Network, member: Members) -> PlainModels:
    """Copies without the clip, which would change the order of the layers, and so of their weights."""
    free = np.array([np.inf], np.float32)
    return plain_models(network, replace(member, clip_low=-free, clip_high=free))


def plainly_initialised(models: PlainModels, vae: Any, *inputs: np.ndarray) -> None:
    """Give a model of the user's the weights of a member, once it has been called."""
    given = [tf.constant(values) for values in inputs]
    vae.terms(given if len(given) > 1 else given[0], training=False)
    vae.encoder.set_weights(models.encoder.get_weights())
    vae.decoder.set_weights(models.decoder.get_weights())


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a member on all rows at once, by klsearch and by the file."""

    ours: dict[str, float]
    theirs: dict[str, float]
    weights: tuple[list[np.ndarray], list[np.ndarray]]
    made: Any
    vae: Any


OWN = """
import keras
from keras import layers, ops


class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        return z_mean + ops.exp(0.5 * z_log_var) * keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)


class VAE(keras.Model):
    def __init__(self, latent_dim, kl_weight=1.0, anneal_epochs=0, dropout_rate=0.3, **kwargs):
        super().__init__(**kwargs)
        self.kl_weight = kl_weight  # a number, which a traced step reads once
        x, z = keras.Input((6,)), keras.Input((latent_dim,))
        h = layers.Dropout(dropout_rate)(layers.Dense(12, activation="relu")(x))
        z_mean, z_log_var = layers.Dense(latent_dim, name="z_mean")(h), layers.Dense(latent_dim, name="z_log_var")(h)
        self.encoder = keras.Model(x, [z_mean, z_log_var, Sampling()([z_mean, z_log_var])])
        self.decoder = keras.Model(z, layers.Dense(6, activation="sigmoid")(layers.Dense(12, activation="relu")(z)))
        self.tracker = keras.metrics.Mean(name="theirs")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        raise AssertionError("their step takes no part")


class AddsKl(layers.Layer):
    def call(self, inputs):
        mean, log_var = inputs
        self.add_loss(-0.5 * ops.mean(ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=-1)))
        return [mean, log_var]


def with_kl_layer(input_shape, latent_dim):
    x, z = keras.Input((2, 3)), keras.Input((latent_dim,))
    h = layers.Dense(12, activation="tanh", kernel_regularizer="l2")(layers.Flatten()(x))
    heads = AddsKl(name="add_kl")([layers.Dense(latent_dim)(h), layers.Dense(latent_dim)(h)])
    return {"inference": keras.Model(x, heads), "generator": keras.Model(z, layers.Dense(6)(z))}


def cut_in_two(latent_dim):
    encoder = keras.Sequential([keras.Input((6,)), layers.Dense(12, activation="relu"), layers.Dense(2 * latent_dim)])
    decoder = keras.Sequential([keras.Input((latent_dim,)), layers.Dense(6), layers.Activation("sigmoid")])
    return [decoder, encoder]


def by_name():
    x, z = keras.Input((6,)), keras.Input((3,))
    h = layers.Dense(12, activation="relu")(x)
    encoder = keras.Model(x, {"logvar": layers.Dense(3, name="b")(h), "mu": layers.Dense(3, name="a")(h)})
    return encoder, keras.Model(z, ops.sigmoid(layers.Dense(6)(z)))


class Encoder(layers.Layer):
    def __init__(self, latent_dim, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [layers.Dense(12, activation="relu"), layers.Dropout(0.5)]
        self.dense_mean, self.dense_log_var = layers.Dense(latent_dim), layers.Dense(latent_dim)

    def call(self, x, training=False):
        for block in self.blocks:
            x = block(x, training=training) if isinstance(block, layers.Dropout) else block(x)
        return self.dense_mean(x), self.dense_log_var(x)


class Joined:
    def __init__(self, latent_dim=3):
        self.encoder, self.decoder = Encoder(latent_dim), keras.Sequential([layers.Dense(6)])


def inside():
    x = keras.Input((6,))
    h = layers.Dense(12, activation="relu")(x)
    mean, log_var = layers.Dense(3, name="z_mean")(h), layers.Dense(3, name="z_log_var")(h)
    z = keras.Input((3,))
    return keras.Model(x, Sampling()([mean, log_var])), keras.Model(z, layers.Dense(6)(z))


def conditional(input_shape, latent_dim, condition_shape):
    x, z = keras.Input((6,)), keras.Input((latent_dim,))
    told = [keras.Input(condition_shape), keras.Input(condition_shape)]
    h = layers.Dense(12, activation="relu")(layers.Concatenate()([x, told[0]]))
    encoder = keras.Model([x, told[0]], [layers.Dense(latent_dim)(h), layers.Dense(latent_dim)(h)])
    return encoder, keras.Model([z, told[1]], layers.Dense(6)(layers.Concatenate()([z, told[1]])))


class ConditionalEncoder(layers.Layer):
    def __init__(self, latent_dim, **kwargs):
        super().__init__(**kwargs)
        self.first, self.drop, self.second = layers.Dense(latent_dim), layers.Dropout(0.5), layers.Dense(latent_dim)

    def call(self, inputs, training=False):
        h = self.drop(ops.concatenate(inputs, axis=1), training=training)
        spread, centre = self.first(h), self.second(h)
        return {"a": spread, "b": centre, "c": centre * spread}


def conditional_class(latent_dim, condition_shape):
    z, told = keras.Input((latent_dim,)), keras.Input(condition_shape)
    output = layers.Dense(6, activation="sigmoid")(layers.Concatenate()([z, told]))
    return ConditionalEncoder(latent_dim), keras.Model([z, told], output)
"""
OWN_SETTINGS = Hyperparameters(
    kl_weight=0.3, clip_low=-1.0, clip_high=0.25, l2=0.01, free_bits=0.02, learning_rate=0.01, clipnorm=2.0
)
DENSE = 'kind = "dense"\nhidden = [16]'
LEFT_OUT = ("encoder_dropout = { low = 0.0, high = 0.4 }\n", "")


def own_kind(kind: str, *keys: str) -> tuple[str, str]:
    return DENSE, "\n".join([f'kind = "{kind}"', *keys])


@pytest.fixture
def one_step(work: Path, definition_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Step]:
    """A definition's network trained by one step, from the same weights and noise, by klsearch and by its file."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(work)])
    (work / "own_models.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)

    def train(
        *changes: tuple[str, str], settings: Hyperparameters = OWN_SETTINGS, shape: tuple[int, ...] = (6,)
    ) -> Step:
        toml = definition_file.read_text()
        for old, new in changes:
            assert old in toml
            toml = toml.replace(old, new)
        definition = parse_definition(toml, "tiny.toml")
        rng = np.random.default_rng(0)
        rows = rng.uniform(size=(40, *shape)).astype(np.float32)
        told = np.eye(3, dtype=np.float32)[np.arange(40) % 3] if "own_models:conditional" in toml else None
        splits = {"train": rows, "validation": rows[:20], "test": rows[20:]}
        conditions = None if told is None else {"train": told, "validation": told[:20], "test": told[20:]}
        dataset: Any = SimpleNamespace(
            table=None,
            splits=splits,
            train=rows,
            shape=shape,
            conditions=conditions,
            condition_width=0 if told is None else 3,
            unit_interval=True,
        )
        network = build_network(definition, dataset, work)
        population = Population(
            network,
            splits,
            definition.objective(),
            conditions=conditions,
            slots=1,
            batch_size=len(rows),
            clips_gradients=True,
            learning=definition.training.learning(),
        )
        population.start(0, settings, seed=5)
        population.compile()
        before = unclipped(network, population.member(0))
        while not population.advance():
            pass
        after = unclipped(network, population.member(0))
        curves = population.curves(0)
        text = settings_snippet(
            definition,
            settings,
            trial=7,
            expected="",
            shape=shape,
            condition_width=dataset.condition_width,
            own=own_code(network),
        )
        made = load(text)
        vae = made.trained() if network.brought is not None else made.VAE(before.encoder, before.decoder)
        order = batch_order(5, 0, len(rows))
        inputs = [rows[order]] if told is None else [rows[order], told[order]]
        plainly_initialised(before, vae, *inputs)
        noise = tf.random.stateless_normal((len(rows), made.LATENT_DIM), [noise_key(5), 0])
        vae.compile(made.optimizer())
        with monkeypatch.context() as patched:
            patched.setattr(keras.random, "normal", lambda *_, **__: noise)
            theirs = vae.train_on_batch(inputs if told is not None else inputs[0], return_dict=True)
        return Step(
            ours={
                "loss": float(curves.total[0]),
                "reconstruction": float(curves.reconstruction[0]),
                "kl": float(curves.kl[0]),
            },
            theirs={name: float(value) for name, value in theirs.items()},
            weights=(
                [*after.encoder.get_weights(), *after.decoder.get_weights()],
                [*vae.encoder.get_weights(), *vae.decoder.get_weights()],
            ),
            made=made,
            vae=vae,
        )

    return train


BERNOULLI = 'likelihood = "bernoulli"'
KINDS = {
    "built in": ([LEFT_OUT], (6,)),
    "built in, means of both": (
        [LEFT_OUT, ("latent_dim = 3", 'latent_dim = 3\nreconstruction_reduction = "mean"')],
        (6,),
    ),
    "class": ([own_kind("own_models:VAE", BERNOULLI, 'searched_dropout = "all"')], (6,)),
    "layer that adds a KL": ([LEFT_OUT, own_kind("own_models:with_kl_layer")], (2, 3)),
    "one output, reversed": ([LEFT_OUT, own_kind("own_models:cut_in_two", BERNOULLI)], (6,)),
    "dictionary, ops.sigmoid": ([LEFT_OUT, own_kind("own_models:by_name", BERNOULLI)], (6,)),
    "subclassed layers": ([own_kind("own_models:Joined", 'searched_dropout = "all"')], (6,)),
    "layers inside": ([LEFT_OUT, own_kind("own_models:inside")], (6,)),
    "file": ([LEFT_OUT, own_kind("own_models.py:by_name", BERNOULLI)], (6,)),
    "conditional": (
        [
            LEFT_OUT,
            own_kind("own_models:conditional"),
            ('source = "rows.csv"', 'source = "rows.csv"\ncondition = ["ward"]'),
        ],
        (6,),
    ),
    "conditional class, named heads": (
        [
            own_kind(
                "own_models:conditional_class", BERNOULLI, 'searched_dropout = "all"', 'latent_heads = ["b", "first"]'
            ),
            ('source = "rows.csv"', 'source = "rows.csv"\ncondition = ["ward"]'),
        ],
        (6,),
    ),
}


@pytest.mark.slow("trains a step of each")
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_the_file_is_a_step_of_the_study(kind: str, one_step: Callable[..., Step]) -> None:
    """The same loss, and the same weights afterwards: KL weight, clipping, L2, free bits, gradients and optimizer."""
    changes, shape = KINDS[kind]
    step = one_step(*changes, shape=shape)
    assert step.theirs == pytest.approx(step.ours, rel=1e-5)
    assert len(step.weights[0]) == len(step.weights[1]) > 3
    for ours, theirs in zip(*step.weights, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-5)


@pytest.mark.slow("trains a step")
def test_a_class_of_one_s_own_is_made_with_the_settings_and_trained_by_the_file(one_step: Callable[..., Step]) -> None:
    step = one_step(
        own_kind("own_models:VAE", BERNOULLI, 'searched_dropout = "all"'), settings=replace(OWN_SETTINGS, l2=0.0)
    )
    made, vae, rows = step.made, step.vae, np.random.default_rng(1).uniform(size=(64, 6)).astype(np.float32)
    assert isinstance(vae, sys.modules["own_models"].VAE)
    assert set(step.theirs) == {"loss", "reconstruction", "kl"}
    out = vae.decoder(np.zeros((1, 3), np.float32)).numpy()
    assert 0 < out.min() < out.max() < 1, "it still ends in their sigmoid"
    own = made.with_own_arguments()
    assert type(own) is sys.modules["own_models"].VAE
    assert (own.kl_weight, own.encoder.layers[2].rate) == (0.3, 0.0)
    assert "own_models.VAE has no argument for CLIP_LOW, CLIP_HIGH, L2, FREE_BITS, LEARNING_RATE." in (
        made.with_own_arguments.__doc__
    )
    made.ENCODER_DROPOUT = 0.9
    dropping = made.trained()
    losses = [float(dropping.terms(rows, training)[0]) for training in (True, False)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4), "dropout acts in training"
