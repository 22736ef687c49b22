"""What members are worth on a split: dropout off, posterior samples from a fixed seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from klsearch.vae.data.gaps import Gaps
from klsearch.vae.data.rows import Rows
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.elbo import clip_log_var, deviance, kl_elements, reconstruction_error, sample_posterior
from klsearch.vae.evaluation.held_rows import HeldRows
from klsearch.vae.evaluation.training_mean import TrainingMean, evenly_spaced
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.stacking import PACKET, Stacked, StackedNetwork
from klsearch.vae.objective import Objective

FINAL_SAMPLES = 8
_NOISE_SEED = 0
# Output values per member that one graph call may hold: it bounds memory. It must not depend on the number of
# members, which could otherwise change the last bit of a result.
_CALL_VALUES = 2**22
# Of wide rows a fourth, so that large images leave memory to their data.
_WIDE = 2**13
_WIDE_CALL_VALUES = 2**20
_ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, section 5.3
_FITTED_SPLIT = "train, evenly spaced"
# A diverged member's values overflow; that its measures are infinite or NaN says enough.
_QUIET = np.errstate(over="ignore", invalid="ignore", divide="ignore")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """The values of some members, each array with a leading axis for the member.

    Attributes:
        weights: values of `vae.networks.stacking.trainable_variables`.
        others: values of `vae.networks.stacking.other_variables`.
        clip_low: lower clip bounds, float32 [K].
        clip_high: upper clip bounds, float32 [K].
    """

    weights: Stacked
    others: Stacked
    clip_low: np.ndarray
    clip_high: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What members made of the rows of a split: float64, rows in order, errors averaged over the samples.

    Attributes:
        mean: μ, shape [K, n, d].
        raw_log_var: z_log_var before clipping, shape [K, n, d].
        log_var: z_log_var after clipping, shape [K, n, d].
        reconstruction: error under the likelihood, summed over features, shape [K, n].
        deviance: of the reconstruction, summed over features, shape [K, n].
    """

    mean: np.ndarray
    raw_log_var: np.ndarray
    log_var: np.ndarray
    reconstruction: np.ndarray
    deviance: np.ndarray

    @_QUIET
    def kl_parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean part ½μ² and variance part ½(e^lv − 1 − lv) per latent, mean over rows, each [K, d]."""
        mean_part = 0.5 * np.mean(np.square(self.mean), axis=1)
        variance_part = 0.5 * np.mean(np.expm1(self.log_var) - self.log_var, axis=1)
        return mean_part, variance_part

    def clip_shares(self, members: Members) -> tuple[np.ndarray, np.ndarray]:
        """Shares of (row, latent) at or below the lower and at or above the upper bound, each [K]."""
        low = members.clip_low.reshape(-1, 1, 1)
        high = members.clip_high.reshape(-1, 1, 1)
        return (
            np.mean((self.raw_log_var <= low) & np.isfinite(low), axis=(1, 2)),
            np.mean((self.raw_log_var >= high) & np.isfinite(high), axis=(1, 2)),
        )


class Evaluator:
    """Measures members of one network on the splits of one data set.

    Args:
        network: the architecture.
        splits: rows by split name, each [n, *shape], NaN where a value is missing; "train" must be among them.
        objective: likelihood and reductions.
        conditions: what is told of each row, by split as the rows, float32 [n, c]; None where nothing is.

    Attributes:
        gaps: how missing values are dealt with.
    """

    def __init__(
        self,
        network: Network,
        splits: Mapping[str, Rows],
        objective: Objective,
        *,
        conditions: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._stacked = StackedNetwork(network)
        self._objective = objective = objective.for_rows(network.input_shape, network.table)
        self._latent_dim = network.latent_dim
        self._features = math.prod(network.input_shape)
        self._splits = {**splits, _FITTED_SPLIT: evenly_spaced(splits["train"])}
        self._conditions = {} if conditions is None else dict(conditions)
        if conditions is not None:
            self._conditions[_FITTED_SPLIT] = evenly_spaced(conditions["train"])[:]
        self.gaps = Gaps(splits)
        self._mean = TrainingMean(objective.likelihood, splits["train"], self.gaps)
        self._spread = self._mean.spread.astype(np.float32)
        self._mean_deviances: dict[str, float] = {}
        self._held: dict[str, HeldRows] = {}
        self._noise: dict[str, np.ndarray] = {}
        self._rows_outcome = tf.function(self._trace, autograph=False, reduce_retracing=True)

    def epoch_measures(self, weights: Stacked, others: Stacked, clip_low: tf.Tensor, clip_high: tf.Tensor) -> tf.Tensor:
        """KL, reconstruction, unexplained and both clip shares on the validation split, [K, 5].

        Traceable: what the curves hold of every epoch, from one posterior sample per row.
        """
        noise, count = self._split_noise("validation")[0], len(self._splits["validation"])
        chunks = -(-count // max(PACKET, _call_values(self._features) // self._features))
        size = -(-count // (chunks * PACKET)) * PACKET
        # Rows beyond the last repeat it (see PACKET), and count nothing.
        taken = np.minimum(np.arange(chunks * size), count - 1)
        share = tf.constant((np.arange(chunks * size) < count) / np.float32(count), tf.float32)
        low, high = clip_low[:, tf.newaxis, tf.newaxis], clip_high[:, tf.newaxis, tf.newaxis]
        with tf.init_scope():  # held by the graph instead of written into it, which is copied several times
            all_taken, all_noise = tf.constant(taken), tf.constant(noise[taken][np.newaxis])
            told, rows = self._told("validation", taken), self._hold("validation")
            of_mean = self._mean_deviance("validation")

        def add(chunk: tf.Tensor, means: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            first = chunk * size
            mean, raw, log_var, reconstruction, deviances = self._trace(
                weights,
                others,
                clip_low,
                clip_high,
                rows.take(all_taken[first : first + size]),
                all_noise[:, first : first + size],
                None if told is None else told[first : first + size],
            )
            values = [
                tf.reduce_mean(kl_elements(mean, log_var), axis=2),
                reconstruction * self._objective.reconstruction_scale(self._features),
                deviances / of_mean,
                _share(tf.logical_and(raw <= low, tf.math.is_finite(low))),
                _share(tf.logical_and(raw >= high, tf.math.is_finite(high))),
            ]
            sums = [tf.reduce_sum(value * share[first : first + size], axis=1) for value in values]
            return chunk + 1, means + tf.stack(sums, axis=1)

        none = tf.zeros([clip_low.shape[0], 5])
        _, means = tf.while_loop(lambda chunk, _: chunk < chunks, add, (tf.constant(0), none))
        return means

    def outcome(self, members: Members, split: str, *, samples: int) -> Outcome:
        """What the members make of every row of a split, with the first `samples` of the fixed posterior noise."""
        count = len(self._splits[split])
        # Rows beyond the last repeat it: see PACKET.
        taken = np.minimum(np.arange(-(-count // PACKET) * PACKET), count - 1)
        rows, noise, told = self._splits[split], self._split_noise(split)[:samples, taken], self._told(split, taken)
        bounds = tf.constant(members.clip_low), tf.constant(members.clip_high)
        size = max(1, _call_values(self._features) // (samples * self._features * PACKET)) * PACKET
        parts = [
            self._rows_outcome(
                list(members.weights),
                list(members.others),
                *bounds,
                tf.constant(rows[taken[first : first + size]]),
                tf.constant(noise[:, first : first + size]),
                None if told is None else told[first : first + size],
            )
            for first in range(0, len(taken), size)
        ]
        columns = zip(*parts, strict=True)
        arrays = [np.concatenate([part.numpy() for part in column], axis=1)[:, :count] for column in columns]
        mean, raw, clipped, reconstruction, deviances = (array.astype(np.float64) for array in arrays)
        return Outcome(mean=mean, raw_log_var=raw, log_var=clipped, reconstruction=reconstruction, deviance=deviances)

    def latent_means(self, members: Members, split: str) -> np.ndarray:
        """μ of every row of a split, float64 [K, n, d]."""
        return self.outcome(members, split, samples=1).mean

    def reconstruction(self, outcome: Outcome) -> np.ndarray:
        """Mean reconstruction error over rows under the study's reduction, shape [K]."""
        scale = self._objective.reconstruction_scale(self._features)
        return np.asarray(np.mean(outcome.reconstruction, axis=1) * scale)

    def unexplained(self, outcome: Outcome, split: str) -> np.ndarray:
        """Deviance over that of predicting the training mean on the same split, shape [K]."""
        return np.asarray(np.mean(outcome.deviance, axis=1) / self._mean_deviance(split))

    @_QUIET
    def measure(self, members: Members, split: str) -> list[Measures]:
        """The final measures of each member on a split, in the members' order."""
        outcome = self.outcome(members, split, samples=FINAL_SAMPLES)
        mean_part, variance_part = outcome.kl_parts()
        elbo = -(self._distortion(members, outcome, split) + np.sum(mean_part + variance_part, axis=1))
        return gather_measures(
            outcome,
            members,
            reconstruction=self.reconstruction(outcome),
            unexplained=self.unexplained(outcome, split),
            elbo=elbo,
        )

    def _distortion(self, members: Members, outcome: Outcome, split: str) -> np.ndarray:
        """E[−log p(x|z)] of what is known of a row, in nats, shape [K].

        What the likelihood fits to training rows takes one posterior sample for each of at most 4,096 of them.
        """

        def train_errors() -> np.ndarray:
            errors = self.outcome(members, _FITTED_SPLIT, samples=1).reconstruction
            return np.asarray(np.mean(errors, axis=1) / self.gaps.known_share(self._splits[_FITTED_SPLIT]))

        # Of as many whole rows, then of the share that is known.
        share = self.gaps.known_share(self._splits[split])
        errors = np.asarray(np.mean(outcome.reconstruction, axis=1) / share)
        likelihood = self._objective.likelihood
        return share * likelihood.distortion(errors, features=self._features, train_errors=train_errors)

    def _hold(self, split: str) -> HeldRows:
        """The rows of a split for programs, which need them as long as this evaluator is there."""
        if split not in self._held:
            self._held[split] = HeldRows(self._splits[split])
        return self._held[split]

    def _mean_deviance(self, split: str) -> float:
        """Deviance of predicting the training mean on a split, summed over features, mean over rows."""
        if split not in self._mean_deviances:
            self._mean_deviances[split] = _mean_deviance(self._mean, self._splits[split])
        return self._mean_deviances[split]

    def _told(self, split: str, rows: np.ndarray) -> tf.Tensor | None:
        """The condition of some rows of a split, [n, c]; None where nothing is told."""
        return tf.constant(self._conditions[split][rows]) if self._conditions else None

    def _split_noise(self, split: str) -> np.ndarray:
        """The fixed posterior noise of a split: float32 [8, n, d], the same for every member and trial."""
        if split not in self._noise:
            generator = np.random.Generator(np.random.Philox(_NOISE_SEED))
            shape = (FINAL_SAMPLES, len(self._splits[split]), self._latent_dim)
            self._noise[split] = generator.standard_normal(shape, dtype=np.float32)
        return self._noise[split]

    def _trace(
        self,
        weights: Stacked,
        others: Stacked,
        clip_low: tf.Tensor,
        clip_high: tf.Tensor,
        rows: tf.Tensor,
        noise: tf.Tensor,
        condition: tf.Tensor | None,
    ) -> tuple[tf.Tensor, ...]:
        """μ, raw and clipped z_log_var [K, n, d], reconstruction and deviance [K, n] averaged over the samples."""
        slots, n, samples = tf.shape(clip_low)[0], tf.shape(rows)[0], tf.shape(noise)[0]
        rows, known = self.gaps.separate(rows)
        shared = share_among(slots, rows)
        told = None if condition is None else share_among(slots, condition)
        mean, raw, _ = self._stacked.encode(weights, others, shared, training=False, condition=told)
        log_var = clip_log_var(raw, clip_low[:, tf.newaxis, tf.newaxis], clip_high[:, tf.newaxis, tf.newaxis])
        z = sample_posterior(mean[:, tf.newaxis], log_var[:, tf.newaxis], noise)  # [K, S, n, d]
        flat_z = tf.reshape(z, [slots, samples * n, self._latent_dim])
        told = None if condition is None else tf.tile(told, [1, samples, 1])  # as flat_z: sample by sample
        output, _ = self._stacked.decode(weights, others, flat_z, training=False, condition=told)
        output = tf.reshape(output, [slots, samples, n, output.shape[2]])
        flat_rows, likelihood = tf.reshape(rows, [n, self._features]), self._objective.likelihood
        known = None if known is None else tf.reshape(known, [n, self._features])
        return (
            mean,
            raw,
            log_var,
            tf.reduce_mean(reconstruction_error(flat_rows, output, likelihood, known), axis=1),
            tf.reduce_mean(deviance(flat_rows, output, likelihood, self._spread, known), axis=1),
        )


@_QUIET
def gather_measures(
    outcome: Outcome, members: Members, *, reconstruction: np.ndarray, unexplained: np.ndarray, elbo: np.ndarray
) -> list[Measures]:
    """What each member made of a split, in the members' order; the three arrays have shape [K]."""
    mean_part, variance_part = outcome.kl_parts()
    low, high = outcome.clip_shares(members)
    active = np.sum(np.var(outcome.mean, axis=1) >= _ACTIVE_VARIANCE, axis=1)
    mismatch = _prior_mismatch(outcome)
    return [
        Measures(
            reconstruction=float(reconstruction[k]),
            unexplained=float(unexplained[k]),
            elbo=float(elbo[k]),
            active_units=int(active[k]),
            clip_share_low=float(low[k]),
            clip_share_high=float(high[k]),
            kl_mean_part=mean_part[k],
            kl_variance_part=variance_part[k],
            prior_mismatch=mismatch[k],
        )
        for k in range(len(members.clip_low))
    ]


def _call_values(features: int) -> int:
    return _CALL_VALUES if features <= _WIDE else _WIDE_CALL_VALUES


def _share(flags: tf.Tensor) -> tf.Tensor:
    """Share of the latents that a flag is set for: [K, n] from [K, n, d]."""
    return tf.reduce_mean(tf.cast(flags, tf.float32), axis=2)


def _mean_deviance(mean: TrainingMean, rows: Rows) -> float:
    """Deviance of predicting the training mean, summed over features, mean over rows."""
    size = max(1, _call_values(mean.values.size) // mean.values.size)
    parts = [np.sum(mean.deviance(rows[first : first + size])) for first in range(0, len(rows), size)]
    return float(np.sum(parts) / len(rows))


def _prior_mismatch(outcome: Outcome) -> np.ndarray:
    """½(v + m² − 1 − ln v) per latent, [K, d]; m and v are the mean and variance of the aggregate posterior."""
    m = np.mean(outcome.mean, axis=1)
    v = np.var(outcome.mean, axis=1) + np.mean(np.exp(outcome.log_var), axis=1)
    return np.asarray(0.5 * (v + np.square(m) - 1 - np.log(v)))


def share_among(slots: tf.Tensor | int, values: tf.Tensor) -> tf.Tensor:
    """Values [n, ...] for each of so many members, [K, n, ...]."""
    return tf.broadcast_to(values[tf.newaxis], tf.concat([[slots], tf.shape(values)], axis=0))


def joined(members: Sequence[Members]) -> Members:
    """Several members as one group, along the leading axis."""
    return Members(
        weights=[tf.concat(values, axis=0) for values in zip(*(m.weights for m in members), strict=True)],
        others=[tf.concat(values, axis=0) for values in zip(*(m.others for m in members), strict=True)],
        clip_low=np.concatenate([m.clip_low for m in members]),
        clip_high=np.concatenate([m.clip_high for m in members]),
    )
