"""A user's own VAE looked at while they train it: what it makes of the same rows, with the same noise, each time."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.elbo import sample_posterior
from klsearch.vae.evaluation.evaluator import Members, Outcome, gather_measures
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.networks.own.changes import variables_kept
from klsearch.vae.networks.own.decoders import take_decoder
from klsearch.vae.networks.own.faults import find_faults
from klsearch.vae.networks.own.heads import take_heads
from klsearch.vae.networks.own.pairs import pair_in

_NOISE_SEED = 0
FEWEST_ROWS = 32
# What is said of a model in a study, in the words of a training that is watched.
_OWN_WORDS = {
    "the training rows": "the watched rows",
    "or set data.scaling = 'minmax' for values in [0, 1]": "or scale all rows to [0, 1]",
    "model.kind: ": "",
}


class Watch:
    """An encoder and a decoder, called on the first rows that are given, with dropout off and fixed noise.

    Args:
        model: holds the two: attributes `encoder` and `decoder`, or layers of such names.
        rows: as the encoder takes them, float [N, *shape].
        count: how many of them are looked at.
        latent_heads: the encoder's two outputs, or their layers, z_mean first; empty to find them by name.
        logits: whether a sigmoid is still to be put on what the decoder gives.
        clip: the bounds between which the user clips z_log_var, for the shares at them; infinite where there is none.

    Attributes:
        count: how many rows are looked at; it may be set to fewer.
        latent_dim: d.
        notes: what was taken for what, and what of the two models makes the numbers doubtful.

    Raises:
        ValueError: the model or the rows are not such; the message says what is.
    """

    def __init__(
        self,
        model: Any,
        rows: np.ndarray,
        *,
        count: int,
        latent_heads: Sequence[str] = (),
        logits: bool = False,
        clip: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        known = np.asarray(rows[:count], np.float32)
        if len(known) < FEWEST_ROWS or not np.all(np.isfinite(known)):
            raise ValueError(f"rows must be {FEWEST_ROWS} rows or more, all of finite numbers.")
        shape = known.shape[1:]
        pair = pair_in(model)
        for one in (pair.encoder, pair.decoder):
            if len(getattr(one, "inputs", None) or ()) > 1:
                raise ValueError(
                    f"{one.name!r} takes {len(one.inputs)} inputs: a model with a condition cannot be watched; have "
                    "fit log its KL to a CSVLogger, whose file `klsearch diagnose` takes."
                )
        with ExitStack() as kept:
            for one in (pair.encoder, pair.decoder):
                if one.built:
                    kept.enter_context(variables_kept(one))
            heads = take_heads(pair.encoder, [known], latent_heads, needs_kernels=False)
            self.latent_dim = int(heads.encoder.output_shape[0][1])
            taken = take_decoder(pair.decoder, self.latent_dim)
            wrong, cautions = find_faults(heads, taken, known, BERNOULLI if logits else GAUSSIAN)
        self.notes = tuple(map(_in_own_words, (*pair.notes, *heads.notes, *wrong, *map(str, cautions))))
        decoder = taken.model
        if math.prod(decoder.output_shape[1:]) != math.prod(shape):
            given, wanted = list(decoder.output_shape[1:]), list(shape)
            raise ValueError(f"the decoder gives rows of shape {given}, but those to be watched have {wanted}.")
        self.count = len(known)
        self._rows = known
        self._noise = np.random.default_rng(_NOISE_SEED).normal(size=(self.count, self.latent_dim)).astype(np.float32)
        self._bounds = Members(
            weights=[], others=[], clip_low=np.array([clip[0]], np.float32), clip_high=np.array([clip[1]], np.float32)
        )
        self._call = tf.function(_caller(heads.encoder, decoder, logits=logits), reduce_retracing=True)

    def spare(self, most: float) -> None:
        """Look at fewer rows from now on where a look takes more than so many seconds, if that saves any."""
        many = self._time_look()
        if many <= most:
            return
        all_rows, self.count = self.count, FEWEST_ROWS
        self.take()  # compiles
        few = self._time_look()
        if few > 0.5 * many:  # it is calling the model that takes the time
            self.count = all_rows
            return
        affordable = FEWEST_ROWS + (all_rows - FEWEST_ROWS) * (most - few) / (many - few)
        self.count = max(FEWEST_ROWS, int(affordable))

    def _time_look(self) -> float:
        """The seconds of a look: of three, the least."""
        took = []
        for _ in range(3):
            began = time.perf_counter()
            self.take()
            took.append(time.perf_counter() - began)
        return min(took)

    def take(self) -> Measures:
        """What the model is worth now: the error is squared, summed over a row's features; there is no ELBO."""
        rows, noise = self._rows[: self.count], self._noise[: self.count]
        mean, log_var, errors = (
            keras.ops.convert_to_numpy(one)[np.newaxis].astype(np.float64) for one in self._call(rows, noise)
        )
        outcome = Outcome(mean=mean, raw_log_var=log_var, log_var=log_var, reconstruction=errors, deviance=errors)
        error = np.mean(errors, axis=1)
        by_mean = float(np.sum(np.var(rows, axis=0, dtype=np.float64)))
        (found,) = gather_measures(
            outcome,
            self._bounds,
            reconstruction=error,
            unexplained=error / by_mean if by_mean > 0 else np.array([math.nan]),
            elbo=np.array([math.nan]),
        )
        return found


def _in_own_words(note: str) -> str:
    for words, own in _OWN_WORDS.items():
        note = note.replace(words, own)
    return note


def _caller(encoder: keras.Model, decoder: keras.Model, *, logits: bool) -> Any:
    """The two as a function of rows and noise, whose calls move neither seeds nor statistics."""

    def call(rows: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, ...]:
        mean, log_var = (tf.cast(head, tf.float32) for head in _call_apart(encoder, rows))
        decoded = tf.cast(_call_apart(decoder, sample_posterior(mean, log_var, noise)), tf.float32)
        output = tf.sigmoid(decoded) if logits else decoded
        flat = (tf.reshape(values, [tf.shape(rows)[0], -1]) for values in (rows, output))
        return mean, log_var, tf.reduce_sum(tf.math.squared_difference(*flat), axis=1)

    return call


def _call_apart(model: keras.Model, inputs: tf.Tensor) -> Any:
    """What a model gives; what calling it would change is dropped."""
    values = ([one.value for one in found] for found in (model.trainable_variables, model.non_trainable_variables))
    called, _ = model.stateless_call(*values, inputs, training=False)
    return called
