"""The variational autoencoder that a Keras user writes by hand: a fresh model for every trial, settings baked in."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.vae.hyperparameters import Hyperparameters


class KerasVae(keras.Model):  # type: ignore[misc]
    """Encoder, decoder and the loss of the recipe, trained by `fit`."""

    def __init__(self, loaded: LoadedDefinition, shape: tuple[int, ...], settings: Hyperparameters, steps: int) -> None:
        super().__init__()
        model = loaded.definition.model
        self.settings = settings
        self.annealing_steps = max(1, settings.annealing_epochs * steps)
        self.taken = self.add_weight(shape=(), initializer="zeros", trainable=False, name="taken")
        self.means = {name: keras.metrics.Mean(name=name) for name in ("kl", "reconstruction", "loss")}
        build = self._conv if model.kind == "conv" else self._dense
        self.encoder, self.decoder = build(model, shape)

    def _heads(self, h: Any, latent_dim: int) -> list[Any]:
        def head() -> keras.layers.Dense:
            return keras.layers.Dense(
                latent_dim,
                kernel_initializer="glorot_normal",
                kernel_regularizer=keras.regularizers.L2(self.settings.l2),
            )

        return [head()(h), head()(h)]

    def _dense(self, model: Any, shape: tuple[int, ...]) -> tuple[keras.Model, keras.Model]:
        inputs = h = keras.Input(shape)
        if len(shape) > 1:
            h = keras.layers.Flatten()(h)
        for units in model.hidden:
            h = keras.layers.Dropout(self.settings.encoder_dropout)(keras.layers.Dense(units, activation="relu")(h))
        encoder = keras.Model(inputs, self._heads(h, model.latent_dim))
        latents = h = keras.Input((model.latent_dim,))
        for units in reversed(model.hidden):
            h = keras.layers.Dense(units, activation="relu")(h)
        h = keras.layers.Dense(int(np.prod(shape)), activation="sigmoid")(h)
        return encoder, keras.Model(latents, keras.layers.Reshape(shape)(h) if len(shape) > 1 else h)

    def _conv(self, model: Any, shape: tuple[int, ...]) -> tuple[keras.Model, keras.Model]:
        pixels = shape if len(shape) == 3 else (*shape, 1)  # grey images come without an axis for colours
        inputs = keras.Input(shape)
        h = keras.layers.Reshape(pixels)(inputs)
        for filters in model.filters:
            h = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(h)
            h = keras.layers.Dropout(self.settings.encoder_dropout)(h)
        smallest = tuple(h.shape[1:])
        h = keras.layers.Flatten()(h)
        for units in model.hidden:
            h = keras.layers.Dropout(self.settings.encoder_dropout)(keras.layers.Dense(units, activation="relu")(h))
        encoder = keras.Model(inputs, self._heads(h, model.latent_dim))
        latents = h = keras.Input((model.latent_dim,))
        for units in reversed(model.hidden):
            h = keras.layers.Dense(units, activation="relu")(h)
        h = keras.layers.Reshape(smallest)(keras.layers.Dense(int(np.prod(smallest)), activation="relu")(h))
        for filters in reversed(model.filters):
            h = keras.layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(h)
        h = keras.layers.Conv2D(pixels[-1], 3, padding="same", activation="sigmoid")(h)
        return encoder, keras.Model(latents, keras.layers.Reshape(shape)(h))

    def _parts(self, rows: Any, training: bool) -> tuple[Any, Any]:
        mean, log_var = self.encoder(rows, training=training)
        log_var = tf.clip_by_value(log_var, self.settings.clip_low, self.settings.clip_high)
        z = mean + tf.exp(0.5 * log_var) * tf.random.normal(tf.shape(mean))
        error = tf.square(rows - self.decoder(z, training=training))
        reconstruction = tf.reduce_mean(tf.reduce_sum(error, axis=list(range(1, len(rows.shape)))))
        kl = 0.5 * tf.reduce_mean(tf.exp(log_var) + tf.square(mean) - 1.0 - log_var)
        return kl, reconstruction

    def _result(self, **values: Any) -> dict[str, Any]:
        for name, value in values.items():
            self.means[name].update_state(value)
        return {name: metric.result() for name, metric in self.means.items()}

    def train_step(self, rows: Any) -> dict[str, Any]:
        """One step of the recipe's loss."""
        weight = self.settings.kl_weight * tf.minimum(1.0, self.taken / self.annealing_steps)
        with tf.GradientTape() as tape:
            kl, reconstruction = self._parts(rows, training=True)
            loss = reconstruction + weight * kl + sum(self.encoder.losses)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        self.taken.assign_add(1.0)
        return self._result(kl=kl, reconstruction=reconstruction, loss=loss)

    def test_step(self, rows: Any) -> dict[str, Any]:
        """KL and reconstruction with dropout off."""
        kl, reconstruction = self._parts(rows, training=False)
        return self._result(kl=kl, reconstruction=reconstruction, loss=reconstruction)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Reset by `fit` at the start of every epoch."""
        return list(self.means.values())


def fitted(
    loaded: LoadedDefinition,
    splits: dict[str, np.ndarray],
    settings: Hyperparameters,
    *,
    jit_compile: bool,
    steps_per_execution: int,
) -> dict[str, list[float]]:
    """The history of one training."""
    training, train = loaded.definition.training, splits["train"]
    keras.backend.clear_session()
    steps = -(-len(train) // training.batch_size)
    model = KerasVae(loaded, train.shape[1:], settings, steps)
    model.compile(
        keras.optimizers.Adam(training.learning_rate),
        jit_compile=jit_compile,
        steps_per_execution=min(steps, steps_per_execution),
    )
    history = model.fit(
        train,
        epochs=training.epochs,
        batch_size=training.batch_size,
        validation_data=(splits["validation"],),
        validation_batch_size=1024,
        verbose=0,
    )
    return dict(history.history)
