"""VAEs in the styles that people publish, sound ones, and with one fault planted."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

ROWS = np.random.default_rng(0).random((64, 36)).astype("float32") ** 3


class Sampling(layers.Layer):
    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(1)
        self.fault = fault

    def call(self, inputs: Any) -> Any:
        mean, log_var = inputs
        if self.fault == "noise_unused":
            return mean
        if self.fault == "clipped sample":
            log_var = ops.clip(log_var, -3, 2)
        size = log_var if self.fault == "standard deviation" else ops.exp(0.5 * log_var)
        return mean + size * self.noise(ops.shape(mean))

    def noise(self, shape: Any) -> Any:
        if self.fault == "noise of NumPy":
            return np.random.normal(size=(len(ROWS), 3)).astype("float32")
        if self.fault == "uniform noise":
            return keras.random.uniform(shape, seed=self.seed_generator)
        seeds = {"unseeded noise": None, "noise of a fixed seed": 5}
        shape = {"noise of a row": (1, shape[1]), "noise of a batch": (1, 1)}.get(self.fault, shape)
        noise = keras.random.normal(shape, seed=seeds.get(self.fault, self.seed_generator))
        return 0.1 * noise if self.fault == "noise_scaled" else noise


def dense_encoder(fault: str = "", latents: int = 3, *, dropout: float = 0.0, l2: float = 0.0) -> keras.Model:
    rows = keras.Input((36,))
    h = layers.Dense(16, activation="relu")(rows)
    h = layers.Dropout(dropout)(h) if dropout else h
    kernel: Any = keras.regularizers.L2(l2) if l2 else None
    activation = {"heads_activated": "relu", "standard deviation": "softplus"}.get(fault)
    mean = layers.Dense(latents, name="z_mean", kernel_regularizer=kernel)(h)
    bias: Any = keras.initializers.Constant(4.0) if fault in ("clip_gradient_dead", "narrow clip") else None
    log_var = layers.Dense(
        latents, name="z_log_var", kernel_regularizer=kernel, activation=activation, bias_initializer=bias
    )(h)
    if fault in ("clip_gradient_dead", "clipped off the batch"):
        log_var = layers.Lambda(lambda value: ops.clip(value, -20.0, 2.0))(log_var)
    if fault == "narrow clip":
        log_var = layers.Lambda(lambda value: ops.clip(value, -0.4, 0.4))(log_var)
    return keras.Model(rows, [mean, log_var, Sampling(fault)([mean, log_var])])


def dense_decoder(latents: int = 3) -> keras.Model:
    z = keras.Input((latents,))
    return keras.Model(z, layers.Dense(36, activation="sigmoid")(layers.Dense(16, activation="relu")(z)))


class KerasExample(keras.Model):
    """The Keras example's style: its own train_step and trackers; here with options for faults."""

    def __init__(self, encoder: Any, decoder: Any, fault: str = "", kl_weight: Any = None, **_: Any) -> None:
        super().__init__()
        self.encoder, self.decoder, self.fault = encoder, decoder, fault
        if kl_weight is not None:
            self.kl_weight = kl_weight
        if fault.startswith("anneal"):
            self.annealing_steps = 1000
        if fault == "two optimizers":
            self.others = {name: keras.optimizers.Adam() for name in ("encoder", "decoder")}
        self.trackers = [keras.metrics.Mean(name=name) for name in ("loss", "reconstruction_loss", "kl_loss")]

    @property
    def metrics(self) -> list[Any]:
        return self.trackers

    def terms(self, data: Any, *, training: bool) -> tuple[Any, Any, Any]:
        mean, log_var, z = self.encoder(data, training=training and self.fault != "dropout_inactive")
        if not training and self.fault == "validation_uses_mean":
            z = mean
        decoded = self.decoder(z)
        axes = tuple(range(1, len(data.shape)))
        reconstruction = ops.mean(ops.sum(ops.square(data - decoded), axis=axes))
        kl = self.kl(mean, log_var, z)
        weight = getattr(self, "kl_weight", 1.0)
        weight = 1.0 if self.fault == "kl_weight_inactive" else weight
        weight = -0.5 if self.fault == "kl_sign_wrong" else weight
        if self.fault in ("annealing_inactive max", "annealing sound"):
            share = ops.cast(self.optimizer.iterations, "float32") / self.annealing_steps
            weight = weight * (ops.maximum if "max" in self.fault else ops.minimum)(1.0, share)
        loss = reconstruction + weight * kl
        if self.losses and self.fault != "l2_inactive":
            loss += ops.sum(ops.stack(self.losses))
        return loss, reconstruction, kl

    def kl(self, mean: Any, log_var: Any, z: Any) -> Any:
        if self.fault == "kl_without_pull":
            mean, log_var = ops.stop_gradient(mean), ops.stop_gradient(log_var)
        log_var = ops.clip(log_var, -3, 2) if self.fault == "log_var_differs" else log_var
        if self.fault == "standard deviation":
            log_var = 2 * ops.log(log_var)
        variance = ops.square(log_var) if self.fault == "kl_formula" else ops.exp(log_var)
        each = -0.5 * (1 + log_var - ops.square(mean) - variance)
        if self.fault == "estimated KL":
            each = 0.5 * (ops.square(z) - log_var - ops.square(z - mean) / variance)
        each = ops.maximum(each, 0.5) if self.fault == "free bits" else each
        kl = ops.mean(ops.sum(each, axis=1))
        if self.fault.startswith("capacity"):
            kl = 10 * ops.abs(kl - 5) if self.fault == "capacity" else ops.square(kl - 5)
        return kl * ops.shape(mean)[0] if self.fault == "batch sum" else kl

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            terms = self.terms(data, training=True)
            scaled = self.optimizer.scale_loss(terms[0])
        if self.fault == "two optimizers":
            for name, optimizer in self.others.items():
                weights = getattr(self, name).trainable_weights
                optimizer.apply_gradients(zip(tape.gradient(terms[0], weights), weights, strict=True))
            return self.track(terms, None)
        weights = self.encoder.trainable_weights if self.fault == "network_untrained" else self.trainable_weights
        gradients = tape.gradient(terms[0], weights)
        if self.fault == "scaled loss":
            gradients = tape.gradient(scaled, weights)
        if self.fault == "clipped gradients":
            gradients, _ = tf.clip_by_global_norm(gradients, 0.1)
        if self.fault == "gradients clipped each":
            gradients = [tf.clip_by_norm(gradient, 0.1) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return self.track(terms, None) | self.beside(data)

    def beside(self, data: Any) -> dict[str, Any]:
        """Metrics of what is decoded beside the loss."""
        if self.fault == "decodes the prior too":
            return {"brightness": ops.mean(self.decoder(keras.random.normal((64, 3))))}
        if self.fault == "decodes the mean too":
            mean, *_ = self.encoder(data, training=False)
            return {"error_of_mean": ops.mean(ops.square(data - self.decoder(mean)))}
        return {}

    def test_step(self, data: Any) -> Any:
        terms = self.terms(data, training=False)
        if self.fault == "validation without metrics":
            return dict(zip(("loss", "reconstruction_loss", "kl_loss"), terms, strict=True))
        weight = None if self.fault == "last_batch_unweighted" else ops.shape(data)[0]
        self.beside(data)
        return self.track(terms, weight)

    def track(self, terms: Any, weight: Any) -> Any:
        for tracker, value in zip(self.trackers, terms, strict=True):
            tracker.update_state(value, sample_weight=weight)
        return {tracker.name: tracker.result() for tracker in self.trackers}


class ComputeLoss(keras.Model):
    """Overrides call and compute_loss; Keras's own steps; mean reductions; a cross-entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = dense_encoder(dropout=0.2, l2=1e-4), dense_decoder()
        self.beta = self.add_weight(shape=(), initializer="ones", trainable=False, name="beta")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        self.parts = self.encoder(inputs, training=training)
        return self.decoder(self.parts[2], training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        mean, log_var, _z = self.parts
        kl = ops.mean(-0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var)))
        extra = ops.sum(ops.stack(self.losses)) if self.losses else 0.0
        return ops.mean(keras.losses.binary_crossentropy(x, y_pred)) + self.beta * kl + extra


def conv() -> KerasExample:
    rows = keras.Input((6, 6, 1))
    h = layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu", padding="same")(rows))
    mean, log_var = layers.Dense(2, name="z_mean")(h), layers.Dense(2, name="z_log_var")(h)
    z = keras.Input((2,))
    h = layers.Reshape((3, 3, 4))(layers.Dense(36, activation="relu")(z))
    decoded = layers.Conv2DTranspose(1, 3, strides=2, activation="sigmoid", padding="same")(h)
    return KerasExample(keras.Model(rows, [mean, log_var, Sampling()([mean, log_var])]), keras.Model(z, decoded))


def recurrent(layer: Callable[..., layers.Layer] = layers.GRU) -> KerasExample:
    rows = keras.Input((6, 6))
    h = layer(8)(rows)
    mean, log_var = layers.Dense(2, name="mu")(h), layers.Dense(2, name="logvar")(h)
    z = keras.Input((2,))
    decoded = layers.TimeDistributed(layers.Dense(6))(layer(8, return_sequences=True)(layers.RepeatVector(6)(z)))
    return KerasExample(keras.Model(rows, [mean, log_var, Sampling()([mean, log_var])]), keras.Model(z, decoded))


def compiled(model: keras.Model) -> keras.Model:
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    return model


def variable(value: float) -> Any:
    return keras.Variable(value, trainable=False, name="kl_weight")


def planted(fault: str) -> keras.Model:
    """The Keras example's style with one fault."""
    weight: Any = variable(0.5) if fault == "kl_weight_inactive" or fault.startswith("anneal") else None
    weight = 0.5 if fault == "kl_weight_frozen" else weight
    encoder = dense_encoder(fault, dropout=0.3, l2=1e-3)
    return compiled(KerasExample(encoder, dense_decoder(), fault, weight))


# KLs other than the plain one, and ways to train, that are no fault.
VARIANTS = (
    "free bits", "capacity", "capacity squared", "estimated KL", "batch sum", "two optimizers", "clipped gradients",
    "gradients clipped each", "clipped off the batch", "decodes the prior too", "decodes the mean too",
    "standard deviation", "unseeded noise",
)  # fmt: skip


def variant(name: str) -> keras.Model:
    """The Keras example's style with another KL, or another way to train."""
    return compiled(KerasExample(dense_encoder(name), dense_decoder(), name, variable(0.5)))


SOUND = {
    "Keras example": lambda: compiled(KerasExample(dense_encoder(), dense_decoder())),
    "with dropout, L2 and a weight for a callback": lambda: compiled(
        KerasExample(dense_encoder(dropout=0.3, l2=1e-3), dense_decoder(), kl_weight=variable(0.0))
    ),
    "annealed in its step": lambda: planted("annealing sound"),
    "compute_loss": lambda: compiled(ComputeLoss()),
    "convolutions": lambda: compiled(conv()),
    "recurrent": lambda: compiled(recurrent()),
    "recurrent, of LSTMs": lambda: compiled(recurrent(layers.LSTM)),
}
