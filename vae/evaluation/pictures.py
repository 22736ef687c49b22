"""A few rows, what models make of them, and what models draw by themselves: the arrays behind a report's pictures."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from klsearch.vae.data.conditions import Condition
from klsearch.vae.data.gaps import Gaps
from klsearch.vae.data.rows import Rows, extremes
from klsearch.vae.elbo import clip_log_var, sample_posterior
from klsearch.vae.evaluation.evaluator import Members, joined, share_among
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples, Samples, SeriesSamples
from klsearch.vae.evaluation.training_mean import TrainingMean
from klsearch.vae.networks.blocks import series_shape
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.stacking import StackedNetwork
from klsearch.vae.objective import Objective

_NOISE_SEED = 0
_IMAGES = 8
# Values that one kept image may have: 32×32 in colour, 55×55 in grey.
_IMAGE_VALUES = 3072
_LONGEST_SIDE = 4  # times the shorter one: beyond, it is a series rather than a picture
_SERIES = 4
_MOST_STEPS = 200
_MOST_CHANNELS = 3
_LATENTS = 5
_TRAVERSED = np.linspace(-3.0, 3.0, 7)
# As many posterior samples as final measures take.
_COLUMN_SAMPLES = 8
_COLUMNS_EACH_END = 20
_CALL_ROWS = 512


def take_samples(
    network: Network,
    objective: Objective,
    splits: Mapping[str, Rows],
    members: Mapping[str, Members],
    *,
    columns: tuple[str, ...] | None = None,
    condition: Condition | None = None,
    as_series: bool = False,
) -> Samples | None:
    """What the members make of the test split, or of validation where there is none.

    Args:
        network: the architecture.
        objective: for the likelihood.
        splits: rows by split name, [n, *shape], NaN where a value is missing; "test" may have none.
        members: one member by name; the latents of the first are traversed.
        columns: names of a table's columns.
        condition: what is told of each row, where the network is conditional.
        as_series: whether rows [length] or [length, channels] are series, whatever else they may look like.

    Returns:
        Pictures for rows that are images, series for longer ones, errors by column for tables, None for rows of other
        shapes.
    """
    split = "test" if len(splits.get("test", ())) else "validation"
    models = _Models(network, objective, joined(list(members.values())), splits)
    told = None if condition is None else condition.splits[split]
    shape = network.input_shape
    if as_series and len(shape) <= 2:
        return _series_samples(models, splits, split, tuple(members), condition)
    if len(shape) == 1:
        named = columns or tuple(f"column {index + 1}" for index in range(shape[0]))
        return _column_errors(models, splits, split, tuple(members), named, told)
    image = image_shape(shape)
    if image is not None:
        return _image_samples(models, splits, split, tuple(members), image, condition)
    return _series_samples(models, splits, split, tuple(members), condition) if len(shape) == 2 else None


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Height, width and channels of rows that can be shown as grey or colour images, else None.

    >>> image_shape((8, 8)), image_shape((32, 24, 3)), image_shape((500, 3))
    ((8, 8, 1), (32, 24, 3), None)
    """
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        return None
    height, width = shape[:2]
    if max(height, width) > _LONGEST_SIDE * min(height, width):
        return None
    return height, width, shape[2] if len(shape) == 3 else 1


class _Models:
    """M members of one network, called on the same rows; dropout off."""

    def __init__(self, network: Network, objective: Objective, members: Members, splits: Mapping[str, Rows]) -> None:
        self.gaps = Gaps(splits)
        self._stacked = StackedNetwork(network)
        self._members = members
        self._likelihood = objective.likelihood.for_rows(network.input_shape, network.table)
        self.training_mean = TrainingMean(self._likelihood, splits["train"], self.gaps)
        self.count = len(members.clip_low)
        self.latent_dim = network.latent_dim
        rows = tf.TensorSpec([None, *network.input_shape], tf.float32)
        latents = tf.TensorSpec([self.count, None, network.latent_dim], tf.float32)
        told = [tf.TensorSpec([None, network.condition_width], tf.float32)] if network.condition_width else []
        self._encode = tf.function(self._trace_encode, autograph=False, input_signature=[rows, *told])
        like = tf.TensorSpec([None, len(self.training_mean.values)], tf.float32)
        self._decode = tf.function(self._trace_decode, autograph=False, input_signature=[latents, like, *told])

    def encode(self, rows: np.ndarray, condition: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """μ and clipped z_log_var, each float32 [M, n, d]."""
        mean, log_var = self._encode(tf.constant(self.gaps.fill(rows)), *_as_tensors(condition))
        return mean.numpy(), log_var.numpy()

    def decode(
        self, latents: np.ndarray, like: np.ndarray | None = None, *, condition: np.ndarray | None = None
    ) -> np.ndarray:
        """Reconstructions in the space of the data, float32 [M, n, D], of latents [M, n, d].

        What the decoder is not asked for, such as a row's total, is that of the rows `like` [n, D], or of the training
        mean.
        """
        rows = self.training_mean.values[np.newaxis] if like is None else like
        given = tf.constant(latents, tf.float32), tf.constant(rows, tf.float32)
        return np.asarray(self._decode(*given, *_as_tensors(condition)).numpy())

    def deviance(self, output: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Of reconstructions [M, n, D] from rows [n, D], value by value; 0 for their gaps."""
        spread = tf.constant(self.training_mean.spread, tf.float32)
        found = self._likelihood.deviance.between(tf.constant(output), tf.constant(rows), spread)
        return self.gaps.leave_out(found.numpy(), rows)

    def reconstruct(self, rows: np.ndarray, noise: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
        """Reconstructions from the posterior samples that `noise` [n, d] gives, float32 [M, n, D]."""
        mean, log_var = self.encode(rows, condition)
        z = sample_posterior(mean, log_var, noise).numpy()
        return self.decode(z, like=_flat(self.gaps.fill(rows)), condition=condition)

    def _shared(self, condition: tuple[tf.Tensor, ...]) -> tf.Tensor | None:
        return share_among(self.count, condition[0]) if condition else None

    def _trace_encode(self, rows: tf.Tensor, *condition: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        members, told = self._members, self._shared(condition)
        shared = share_among(self.count, rows)
        mean, raw, _ = self._stacked.encode(members.weights, members.others, shared, training=False, condition=told)
        low, high = (tf.constant(bound)[:, tf.newaxis, tf.newaxis] for bound in (members.clip_low, members.clip_high))
        return mean, clip_log_var(raw, low, high)

    def _trace_decode(self, latents: tf.Tensor, like: tf.Tensor, *condition: tf.Tensor) -> tf.Tensor:
        members, told = self._members, self._shared(condition)
        output, _ = self._stacked.decode(members.weights, members.others, latents, training=False, condition=told)
        return self._likelihood.mean(output, like)


def _as_tensors(condition: np.ndarray | None) -> list[tf.Tensor]:
    return [] if condition is None else [tf.constant(condition, tf.float32)]


def _noise(*shape: int) -> np.ndarray:
    """The same draws every time, float32."""
    return np.random.Generator(np.random.Philox(_NOISE_SEED)).standard_normal(shape, dtype=np.float32)


def _deviances_of_mean(mean: TrainingMean, rows: Rows) -> np.ndarray:
    """Deviance of predicting the training mean, summed over rows, [D]."""
    total = np.zeros(mean.values.shape)
    for first in range(0, len(rows), _CALL_ROWS):
        total += np.sum(mean.deviance(rows[first : first + _CALL_ROWS]), axis=0)
    return total


def _flat(rows: np.ndarray) -> np.ndarray:
    flat: np.ndarray = rows.reshape(len(rows), -1)
    return flat


class _Decoded(NamedTuple):
    """The first rows of a split and what M models make of them, flat.

    Attributes:
        rows: [n, *shape].
        told: their conditions, [n, c]; None of models without.
        reconstructions: [M, n, D].
        unexplained: of each, [M, n].
        prior_samples: [M, n, D].
        words: what each of those was told, [n]; empty of models without.
    """

    rows: np.ndarray
    told: np.ndarray | None
    reconstructions: np.ndarray
    unexplained: np.ndarray
    prior_samples: np.ndarray
    words: tuple[str, ...]


def _decode_first(
    models: _Models, splits: Mapping[str, Rows], split: str, condition: Condition | None, count: int
) -> _Decoded:
    rows = splits[split][:count]
    told, of_prior, words = None, None, tuple[str, ...]()
    if condition is not None:
        told, of_prior = condition.splits[split][:count], _commonest(condition.splits["train"], len(rows))
        words = tuple(condition.encoding.decode(one) for one in of_prior)
    unit = np.sum(_deviances_of_mean(models.training_mean, splits[split])) / len(splits[split])
    output = models.reconstruct(rows, _noise(len(rows), models.latent_dim), told)
    prior = np.broadcast_to(_noise(len(rows), models.latent_dim), (models.count, len(rows), models.latent_dim))
    return _Decoded(
        rows=rows,
        told=told,
        reconstructions=output,
        unexplained=np.sum(models.deviance(output, _flat(rows)), axis=2, dtype=np.float64) / unit,
        prior_samples=models.decode(prior, condition=of_prior),
        words=words,
    )


def _image_samples(
    models: _Models,
    splits: Mapping[str, Rows],
    split: str,
    names: tuple[str, ...],
    image: tuple[int, int, int],
    condition: Condition | None,
) -> ImageSamples:
    first = _decode_first(models, splits, split, condition, _IMAGES)
    latents, latent_kl = _informative_latents(
        models, splits[split][:_CALL_ROWS], None if condition is None else condition.splits[split][:_CALL_ROWS]
    )
    low, high = map(float, extremes(splits["train"]))

    def pixels(values: np.ndarray) -> np.ndarray:
        """Flattened rows [..., D] as uint8 [..., height, width, channels]."""
        shaped = _smaller(values.reshape(*values.shape[:-1], *image))
        return np.asarray(np.rint(np.clip((shaped - low) / (high - low), 0, 1) * 255), np.uint8)

    return ImageSamples(
        split=split,
        names=names,
        originals=pixels(_flat(models.gaps.fill(first.rows))),
        reconstructions=pixels(first.reconstructions),
        unexplained=first.unexplained,
        prior_samples=pixels(first.prior_samples),
        traversal=pixels(_traversal(models, first.rows, latents, first.told)),
        latents=latents,
        latent_kl=latent_kl,
        values=_TRAVERSED,
        conditions=first.words,
        traversed_condition="" if condition is None else condition.encoding.decode(condition.splits[split][0]),
    )


def _commonest(condition: np.ndarray, count: int) -> np.ndarray:
    """So many conditions [count, c] of rows [n, c]: the commonest first, and again from the first if they are fewer.

    Where the last of them were no commoner than the rarest, as with numbers, they are taken from all over their range.
    """
    found, times = np.unique(condition, axis=0, return_counts=True)
    order = np.argsort(-times, kind="stable")
    if len(found) > count and times[order[count - 1]] == times.min():
        order = np.linspace(0, len(found) - 1, count).round().astype(np.int64)
    return np.asarray(found[np.resize(order[:count], count)])


def _series_samples(
    models: _Models,
    splits: Mapping[str, Rows],
    split: str,
    names: tuple[str, ...],
    condition: Condition | None,
) -> SeriesSamples:
    first = _decode_first(models, splits, split, condition, _SERIES)
    length, channels = series_shape(first.rows.shape[1:])
    steps = np.unique(np.linspace(0, length - 1, _MOST_STEPS).round().astype(np.int64))
    kept = np.arange(min(channels, _MOST_CHANNELS))

    def series(values: np.ndarray) -> np.ndarray:
        """Flattened rows [..., D] as [..., kept steps, kept channels]."""
        shaped = values.reshape(*values.shape[:-1], length, channels)
        return np.asarray(shaped[..., steps, :][..., kept], np.float64)

    return SeriesSamples(
        split=split,
        names=names,
        steps=steps,
        channels=kept,
        originals=series(_flat(first.rows)),
        reconstructions=series(first.reconstructions),
        unexplained=first.unexplained,
        prior_samples=series(first.prior_samples),
        conditions=first.words,
    )


def _informative_latents(
    models: _Models, rows: np.ndarray, condition: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The first model's latents of the most KL, with their KL in nats."""
    mean, log_var = (values[0].astype(np.float64) for values in models.encode(rows, condition))
    kl = np.mean(0.5 * (np.square(mean) + np.expm1(log_var) - log_var), axis=0)
    order = np.argsort(-kl, kind="stable")[:_LATENTS]
    return order, kl[order]


def _traversal(models: _Models, rows: np.ndarray, latents: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """Outputs of the first model, [latents, steps, D], under the first row's condition."""
    mean, _ = models.encode(rows, condition)
    wanted = np.tile(mean[0, 0], (len(latents), len(_TRAVERSED), 1))
    for row, latent in zip(wanted, latents, strict=True):
        row[:, latent] = _TRAVERSED
    flat = wanted.reshape(-1, models.latent_dim)
    told = None if condition is None else np.tile(condition[:1], (len(flat), 1))
    output = models.decode(np.broadcast_to(flat, (models.count, *flat.shape)), condition=told)[0]
    return np.asarray(output.reshape(len(latents), len(_TRAVERSED), -1))


def _smaller(images: np.ndarray) -> np.ndarray:
    """Images [..., height, width, channels] with blocks of pixels averaged, so that each has at most 3072 values."""
    *leading, height, width, channels = images.shape
    block = math.ceil(math.sqrt(height * width * channels / _IMAGE_VALUES))
    if block == 1:
        return images
    high, wide = max(1, height // block), max(1, width // block)
    cut = images[..., : high * block, : wide * block, :]
    blocks = cut.reshape(*leading, high, min(block, height), wide, min(block, width), channels)
    return np.asarray(blocks.mean(axis=(-4, -2)))


def _column_errors(
    models: _Models,
    splits: Mapping[str, Rows],
    split: str,
    names: tuple[str, ...],
    columns: tuple[str, ...],
    condition: np.ndarray | None,
) -> ColumnErrors:
    rows = splits[split]
    deviances = np.zeros((models.count, len(columns)))
    for chunk, noise in _chunks(len(rows), models.latent_dim):
        told = None if condition is None else condition[chunk]
        for one in noise:
            output = models.reconstruct(rows[chunk], one, told)
            deviances += np.sum(models.deviance(output, rows[chunk]), axis=1, dtype=np.float64)
    of_mean = _deviances_of_mean(models.training_mean, rows)
    varying = np.flatnonzero(of_mean > 0)
    unexplained = deviances[:, varying] / _COLUMN_SAMPLES / of_mean[varying]
    order = np.argsort(-unexplained[0], kind="stable")
    if len(order) > 2 * _COLUMNS_EACH_END:
        order = np.concatenate([order[:_COLUMNS_EACH_END], order[-_COLUMNS_EACH_END:]])
    return ColumnErrors(
        split=split,
        names=names,
        columns=tuple(columns[index] for index in varying[order]),
        unexplained=unexplained[:, order],
        of=len(varying),
    )


def _chunks(rows: int, latent_dim: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows at a time with their posterior noise [samples, n, d]."""
    noise = _noise(_COLUMN_SAMPLES, rows, latent_dim)
    for first in range(0, rows, _CALL_ROWS):
        chunk = slice(first, first + _CALL_ROWS)
        yield chunk, noise[:, chunk]
