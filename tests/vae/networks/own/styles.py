"""Variational autoencoders in the styles in which they are published, for rows of 8×8 pixels and 4 latents."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

LATENT_DIM = 4


class Sampling(layers.Layer):
    """Draws z as Keras's example does."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(shape=ops.shape(z_mean), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


def convolutional_models() -> tuple[keras.Model, keras.Model]:
    encoder_inputs = keras.Input(shape=(8, 8, 1))
    x = layers.Conv2D(8, 3, activation="relu", strides=2, padding="same")(encoder_inputs)
    x = layers.Flatten()(x)
    x = layers.Dense(16, activation="relu")(x)
    z_mean = layers.Dense(LATENT_DIM, name="z_mean")(x)
    z_log_var = layers.Dense(LATENT_DIM, name="z_log_var")(x)
    z = Sampling()([z_mean, z_log_var])
    encoder = keras.Model(encoder_inputs, [z_mean, z_log_var, z], name="encoder")
    latent_inputs = keras.Input(shape=(LATENT_DIM,))
    x = layers.Dense(4 * 4 * 8, activation="relu")(latent_inputs)
    x = layers.Reshape((4, 4, 8))(x)
    x = layers.Conv2DTranspose(8, 3, activation="relu", strides=2, padding="same")(x)
    decoder_outputs = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    return encoder, keras.Model(latent_inputs, decoder_outputs, name="decoder")


class KerasExample(keras.Model):
    """Keras's example: a convolutional VAE with a `train_step`."""

    def __init__(self, encoder: keras.Model, decoder: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            z_mean, z_log_var, z = self.encoder(data)
            reconstruction = self.decoder(z)
            entropy = ops.sum(keras.losses.binary_crossentropy(data, reconstruction), axis=(1, 2))
            kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
            total_loss = ops.mean(entropy) + ops.mean(ops.sum(kl_loss, axis=1))
        grads = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        self.kl_loss_tracker.update_state(kl_loss)
        return {"kl_loss": self.kl_loss_tracker.result()}


def keras_example() -> KerasExample:
    return KerasExample(*convolutional_models())


class Cvae(keras.Model):
    """TensorFlow's tutorial: an encoder of one output that `encode` cuts in two, a decoder of logits."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = keras.Sequential(
            [
                layers.InputLayer(shape=(8, 8, 1)),
                layers.Conv2D(8, kernel_size=3, strides=(2, 2), activation="relu"),
                layers.Flatten(),
                layers.Dense(latent_dim + latent_dim),
            ]
        )
        self.decoder = keras.Sequential(
            [
                layers.InputLayer(shape=(latent_dim,)),
                layers.Dense(4 * 4 * 8, activation="relu"),
                layers.Reshape((4, 4, 8)),
                layers.Conv2DTranspose(8, kernel_size=3, strides=2, padding="same", activation="relu"),
                layers.Conv2DTranspose(1, kernel_size=3, strides=1, padding="same"),
            ]
        )

    def encode(self, x: Any) -> Any:
        return tf.split(self.encoder(x), num_or_size_splits=2, axis=1)


class KlDivergence(layers.Layer):
    """Adds the KL to the loss and gives on what it takes."""

    def call(self, inputs: Any) -> Any:
        mu, log_var = inputs
        kl = -0.5 * ops.sum(1 + log_var - ops.square(mu) - ops.exp(log_var), axis=-1)
        self.add_loss(ops.mean(kl))
        return [mu, log_var]


def dense_with_added_loss() -> dict[str, keras.Model]:
    """A dense VAE as graphs, whose KL a layer adds."""
    x = keras.Input(shape=(64,))
    h = layers.Dense(32, activation="relu")(x)
    h = layers.Dropout(0.2)(h)
    z_mu, z_log_var = KlDivergence()([layers.Dense(LATENT_DIM)(h), layers.Dense(LATENT_DIM)(h)])
    z = keras.Input(shape=(LATENT_DIM,))
    decoded = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(64, activation="sigmoid")])(z)
    return {"encoder": keras.Model(x, [z_mu, z_log_var]), "decoder": keras.Model(z, decoded)}


class Encoder(layers.Layer):
    """Maps rows to the mean, the log-variance and a sample, as in Keras's guide to subclassing."""

    def __init__(self, latent_dim: int = LATENT_DIM, intermediate_dim: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flatten = layers.Flatten()
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dropout = layers.Dropout(0.1)
        self.dense_mean = layers.Dense(latent_dim)
        self.dense_log_var = layers.Dense(latent_dim)
        self.sampling = Sampling()

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.dropout(self.dense_proj(self.flatten(inputs)), training=training)
        z_mean = self.dense_mean(x)
        z_log_var = self.dense_log_var(x)
        z = self.sampling((z_mean, z_log_var))
        return z_mean, z_log_var, z


class Decoder(layers.Layer):
    """Turns an encoded vector back into a row."""

    def __init__(self, original_dim: int = 64, intermediate_dim: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dense_output = layers.Dense(original_dim, activation="sigmoid")

    def call(self, inputs: Any) -> Any:
        return self.dense_output(self.dense_proj(inputs))


class Subclassed(keras.Model):
    """Encoder and decoder joined in a class, whose `call` adds the KL."""

    def __init__(self, original_dim: int = 64, latent_dim: int = LATENT_DIM, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = Encoder(latent_dim=latent_dim)
        self.decoder = Decoder(original_dim)

    def call(self, inputs: Any) -> Any:
        z_mean, z_log_var, z = self.encoder(inputs)
        kl_loss = -0.5 * ops.mean(z_log_var - ops.square(z_mean) - ops.exp(z_log_var) + 1)
        self.add_loss(kl_loss)
        return self.decoder(z)


def save_trained(file: Path) -> Path:
    """A graph of both models, saved after training: with biases that are no longer 0."""
    x, z = keras.Input((8, 8)), keras.Input((LATENT_DIM,))
    h = layers.Dense(32, activation="gelu")(layers.Flatten()(x))
    encoder = keras.Model(x, [layers.Dense(LATENT_DIM, name=n)(h) for n in ("mu", "logvar")], name="encoder")
    h = layers.Dense(64, activation="sigmoid")(layers.Dense(32, activation="gelu")(z))
    decoder = keras.Model(z, layers.Reshape((8, 8))(h), name="decoder")
    whole = keras.Model(x, decoder(encoder(x)[0]))
    for variable in whole.trainable_variables:
        variable.assign(variable + 0.25)
    whole.save(file)
    return file
