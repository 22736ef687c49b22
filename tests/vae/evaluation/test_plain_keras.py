"""A member of a population trains as a plain Keras model with its own `train_step`, written independently here."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.networks import streams
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = pytest.mark.slow("trains beside plain Keras")

LATENTS = 4
HIDDEN = (32, 16)
SEED = 11
EPOCHS = 5
SETTINGS = Hyperparameters(
    kl_weight=0.02, clip_low=-0.2, clip_high=0.05, annealing_epochs=2, l2=0.01, learning_rate=2e-3, clipnorm=0.5
)
OTHERS = Hyperparameters(kl_weight=1.0, encoder_dropout=0.4, learning_rate=0.01)


class PlainVAE(keras.Model):
    """The VAE as tutorials write it, with its hyperparameters fixed in the code."""

    def __init__(self, features: int, *, bernoulli: bool) -> None:
        super().__init__()
        self.bernoulli = bernoulli
        head: dict[str, Any] = {"units": LATENTS, "kernel_regularizer": keras.regularizers.L2(0.01)}
        rows, latents = keras.Input((features,)), keras.Input((LATENTS,))
        h = keras.layers.Dense(16, activation="relu")(keras.layers.Dense(32, activation="relu")(rows))
        self.encoder = keras.Model(rows, [keras.layers.Dense(**head)(h), keras.layers.Dense(**head)(h)])
        h = keras.layers.Dense(32, activation="relu")(keras.layers.Dense(16, activation="relu")(latents))
        output = keras.layers.Dense(features, activation=None if bernoulli else "sigmoid")(h)
        self.decoder = keras.Model(latents, output)
        self.compile(optimizer=keras.optimizers.Adam(2e-3, clipnorm=0.5))

    def call(self, rows: Any) -> Any:
        return self.decoder(self.encoder(rows)[0])

    def train_step(self, data: Any) -> dict[str, Any]:
        rows, noise, kl_weight = data[0]
        with tf.GradientTape() as tape:
            mean, log_var = self.encoder(rows, training=True)
            log_var = tf.clip_by_value(log_var, -0.2, 0.05)
            output = self.decoder(mean + tf.exp(0.5 * log_var) * noise, training=True)
            per_latent = -0.5 * (1 + log_var - mean**2 - tf.exp(log_var))
            if self.bernoulli:  # mean over features, sum over latents
                reconstruction = tf.reduce_mean(keras.losses.binary_crossentropy(rows, output, from_logits=True))
                weighted = tf.reduce_mean(tf.reduce_sum(per_latent, axis=1)) * kl_weight[0]
            else:  # sum over features, mean over latents
                reconstruction = tf.reduce_mean(tf.reduce_sum((rows - output) ** 2, axis=1))
                weighted = tf.reduce_mean(per_latent) * kl_weight[0]
            total = reconstruction + weighted + sum(self.losses)
        self.optimizer.apply(tape.gradient(total, self.trainable_variables), self.trainable_variables)
        return {"kl": tf.reduce_mean(per_latent), "reconstruction": reconstruction, "total": total}


def reference(model: PlainVAE, rows: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
    """Means per epoch, trained on the member's batches with the member's noise."""
    steps = math.ceil(len(rows) / batch_size)
    curves: dict[str, list[float]] = {"kl": [], "reconstruction": [], "total": [], "kl_weight": []}
    for epoch in range(EPOCHS):
        order = streams.batch_order(SEED, epoch, len(rows))
        logs, sizes = [], []
        for step in range(steps):
            batch = rows[order[step * batch_size : (step + 1) * batch_size]]
            clock = epoch * steps + step
            noise = tf.random.stateless_normal((len(batch), LATENTS), (streams.noise_key(SEED), clock))
            weight = 0.02 * min(1.0, clock / (2 * steps))
            weights = np.full(len(batch), weight, np.float32)
            logs.append({**model.train_on_batch((batch, noise, weights), return_dict=True), "kl_weight": weight})
            sizes.append(len(batch))
        for name, values in curves.items():
            values.append(float(np.average([log[name] for log in logs], weights=sizes)))
    return {name: np.array(values) for name, values in curves.items()}


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_member_trains_as_a_plain_keras_model(
    likelihood: str,
    digits: dict[str, np.ndarray],
    scaled_tumours: dict[str, np.ndarray],
    train: Callable[[Population, int], None],
) -> None:
    bernoulli = likelihood == "bernoulli"
    splits, batch_size = (scaled_tumours, 64) if bernoulli else (digits, 200)
    assert len(splits["train"]) % batch_size, "the last batch must be a short one"
    features = splits["train"].shape[1]
    network = dense_network((features,), LATENTS, hidden=HIDDEN, output_activation="linear" if bernoulli else "sigmoid")
    objective = (
        Objective(likelihood=BERNOULLI, reconstruction_reduction="mean", kl_reduction="sum")
        if bernoulli
        else Objective()
    )
    population = Population(network, splits, objective, slots=2, batch_size=batch_size, clips_gradients=True)
    population.start(0, OTHERS, SEED + 1)
    population.start(1, SETTINGS, SEED)
    plain = PlainVAE(features, bernoulli=bernoulli)
    for variable, values in zip(plain.trainable_variables, population.weights(1), strict=True):
        variable.assign(values)

    train(population, EPOCHS)
    expected = reference(plain, splits["train"], batch_size)

    curves = population.curves(1)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(curves, name), values, rtol=1e-4, err_msg=name)
    for variable, values in zip(plain.trainable_variables, population.weights(1), strict=True):
        np.testing.assert_allclose(values, variable, rtol=1e-2, atol=1e-4)
    # All parts had a say: the log-variance met both bounds, and the KL weight ended its rise.
    assert curves.clip_share_low.max() > 0.01
    assert curves.clip_share_high.max() > 0.01
    assert curves.kl_weight[-1] == pytest.approx(0.02)
