"""K members trained together by one compiled program: the only training path."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from vae import optimizer, stacking, streams
from vae.curves import CURVE_NAMES, TrainingCurves
from vae.elbo import Objective, clip_log_var, kl_elements, reconstruction_error, sample_posterior
from vae.evaluation import Evaluator, Members, gather
from vae.hyperparameters import Hyperparameters
from vae.measures import Measures
from vae.networks import Network
from vae.schedules import adam_step_size, kl_weight_at

# A graph call is kept to about this long, so that signals and time limits are answered.
_CALL_SECONDS = 1.0
_IDLE = Hyperparameters(kl_weight=0.0)


@dataclass(slots=True)
class _Slot:
    """One member: its settings, its own clock, and what was measured of it."""

    hyperparameters: Hyperparameters = _IDLE
    seed: int = 0
    active: bool = False
    epoch: int = 0
    seconds: float = 0.0
    rows: list[np.ndarray] = field(default_factory=list)  # one per epoch, in the order of CURVE_NAMES


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What the present epoch needs of every slot, in its own time."""

    order: tf.Tensor  # [K, n] int32: rows in the order of training
    kl_weight: tf.Tensor  # [steps, K]
    step_size: tf.Tensor  # [steps, K]
    noise_key: tf.Tensor  # [K] int32
    first_step: tf.Tensor  # [K] int32
    clip_low: tf.Tensor  # [K]
    clip_high: tf.Tensor  # [K]
    l2: tf.Tensor  # [K]
    clipnorm: tf.Tensor  # [K]

    def tensors(self) -> tuple[tf.Tensor, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """What one step needs of every member."""

    rows: tf.Tensor  # [K, B, *shape]
    noise: tf.Tensor  # [K, B, d]
    kl_weight: tf.Tensor  # [K]
    clip_low: tf.Tensor  # [K]
    clip_high: tf.Tensor  # [K]
    l2: tf.Tensor  # [K]


class Population:
    """K slots advanced together, an epoch at a time; a member leaves and the next moves in without recompiling.

    A member's result is a function of its hyperparameters and seed alone: not of its slot, its neighbours, the tick
    at which it started, or (for even K) of K.

    Args:
        network: the architecture, built once.
        splits: rows by split name ("train", "validation", perhaps "test"), float32 [n, *shape].
        objective: likelihood and reductions.
        slots: K, the number of members trained together.
        batch_size: rows in a step; a last short batch is trained as it is.
        clips_gradients: whether any member will have a finite `clipnorm`; without, its cost is saved.

    Raises:
        ValueError: a split holds no rows, or fewer training rows than a batch.
    """

    def __init__(
        self,
        network: Network,
        splits: dict[str, np.ndarray],
        objective: Objective,
        *,
        slots: int,
        batch_size: int,
        clips_gradients: bool = False,
    ) -> None:
        rows = len(splits["train"])
        if rows < batch_size or not len(splits["validation"]):
            raise ValueError(
                f"the training split ({rows} rows) must hold a batch of {batch_size}, and the validation split a row."
            )
        self.slots = slots
        self.steps_per_epoch = -(-rows // batch_size)
        self._objective = objective
        self._batch_size = batch_size
        self._clips_gradients = clips_gradients
        self._network = network
        self._stacked = stacking.StackedNetwork(network)
        self._evaluator = Evaluator(network, splits, objective)
        self._train_rows = tf.constant(splits["train"])
        self._draw_weights = stacking.initial_values(network)
        trainable = stacking.trainable_variables(network)
        heads = {id(kernel) for kernel in network.latent_head_kernels()}
        self._heads = [index for index, variable in enumerate(trainable) if id(variable) in heads]
        rates = {id(layer.rate) for layer in network.searched_dropouts()}
        self._rates = [i for i, variable in enumerate(stacking.other_variables(network)) if id(variable) in rates]
        self._weights = stacking.stack(trainable, slots)
        self._others = stacking.stack(stacking.other_variables(network), slots)
        self._means = stacking.stack(trainable, slots)
        self._squares = stacking.stack(trainable, slots)
        self._members = [_Slot() for _ in range(slots)]
        self._batch = 0
        self._steps: list[np.ndarray] = []  # [batches of a call, K, 5] since the epoch began
        self._seconds_per_batch = 0.0
        self._plan: _Plan | None = None
        self._start = tf.function(self._trace_start)
        self._train = tf.function(self._trace_train)

    def compile(self) -> None:
        """Trace the training program now, so that its cost is not counted to the first trials."""
        self._train(*self._make_plan().tensors(), tf.constant(0), tf.constant(0))

    def start(self, slot: int, hyperparameters: Hyperparameters, seed: int) -> None:
        """Move a new member into a slot: fresh weights, optimizer state and clock. Only between epochs."""
        if self._batch:
            raise RuntimeError("a member can only start between epochs.")
        self._start(tf.constant(slot), tf.constant(streams.weights_key(seed)))
        others = stacking.initial_others(self._network, seed)
        for index, (variable, value) in enumerate(zip(self._others, others, strict=True)):
            rate = tf.constant(hyperparameters.encoder_dropout, variable.dtype) if index in self._rates else value
            variable[slot].assign(rate)
        self._members[slot] = _Slot(hyperparameters, seed, active=True)
        self._plan = None

    def stop(self, slot: int) -> None:
        """Take the member out of a slot; its values stay until the next one starts there."""
        self._members[slot].active = False

    def advance(self) -> bool:
        """Train for about a second; True when that ended the epoch of every slot."""
        plan = self._plan = self._plan or self._make_plan()
        left = self.steps_per_epoch - self._batch
        allowed = int(_CALL_SECONDS / self._seconds_per_batch) if self._seconds_per_batch else 1
        batches = min(left, max(1, allowed))
        began = time.perf_counter()
        steps = self._train(*plan.tensors(), tf.constant(self._batch), tf.constant(self._batch + batches))
        self._steps.append(steps.numpy())
        self._seconds_per_batch = (time.perf_counter() - began) / batches
        self._batch += batches
        if ended := self._batch == self.steps_per_epoch:
            self._end_epoch()
        spent = (time.perf_counter() - began) / self.slots
        for member in self._active():
            member.seconds += spent
        return ended

    def epoch(self, slot: int) -> int:
        """Epochs that the member in a slot has been trained for."""
        return self._members[slot].epoch

    def seconds(self, slot: int) -> float:
        """The member's share of the wall time of its epochs."""
        return self._members[slot].seconds

    def curves(self, slot: int) -> TrainingCurves:
        """The member's curves so far."""
        return TrainingCurves.from_rows(np.array(self._members[slot].rows, dtype=np.float32))

    def measure(self, slots: Sequence[int], split: str) -> list[Measures]:
        """Final measures of the members in `slots` on a split, in that order."""
        # Padded to an even number, so that the result does not depend on how many are measured together.
        padded = [*slots, slots[-1]] if len(slots) % 2 and self.slots > 1 else list(slots)
        return self._evaluator.measure(self._gathered(padded), split)[: len(slots)]

    def weights(self, slot: int) -> list[np.ndarray]:
        """The member's values of the network's trainable variables."""
        return [value.numpy() for value in gather(self._weights, [slot])]

    def _active(self) -> list[_Slot]:
        return [member for member in self._members if member.active]

    def _gathered(self, slots: Sequence[int]) -> Members:
        chosen = [self._members[slot].hyperparameters for slot in slots]
        return Members(
            weights=gather(self._weights, slots),
            others=gather(self._others, slots),
            clip_low=np.array([settings.clip_low for settings in chosen]),
            clip_high=np.array([settings.clip_high for settings in chosen]),
        )

    def _make_plan(self) -> _Plan:
        rows = len(self._train_rows)
        members = self._members
        first = np.array([member.epoch * self.steps_per_epoch for member in members])
        steps = first + np.arange(self.steps_per_epoch)[:, np.newaxis]  # [steps, K]

        def each(name: str) -> np.ndarray:
            return np.array([getattr(member.hyperparameters, name) for member in members])

        weight = kl_weight_at(
            steps,
            kl_weight=each("kl_weight"),
            annealing_epochs=each("annealing_epochs"),
            steps_per_epoch=self.steps_per_epoch,
        )
        order = np.stack([streams.batch_order(member.seed, member.epoch, rows) for member in members])
        return _Plan(
            order=tf.constant(order),
            kl_weight=tf.constant(weight, tf.float32),
            step_size=tf.constant(adam_step_size(steps, each("learning_rate")), tf.float32),
            noise_key=tf.constant([streams.noise_key(member.seed) for member in members]),
            first_step=tf.constant(first, tf.int32),
            clip_low=tf.constant(each("clip_low"), tf.float32),
            clip_high=tf.constant(each("clip_high"), tf.float32),
            l2=tf.constant(each("l2"), tf.float32),
            clipnorm=tf.constant(each("clipnorm"), tf.float32),
        )

    def _end_epoch(self) -> None:
        """Validate every slot, and turn the epoch's steps into a row of each active member's curves."""
        steps = np.concatenate(self._steps).astype(np.float64)  # [steps, K, 4]
        sizes = np.full(self.steps_per_epoch, self._batch_size)
        sizes[-1] = len(self._train_rows) - self._batch_size * (self.steps_per_epoch - 1)
        means = np.tensordot(sizes, steps, axes=1) / len(self._train_rows)  # [K, 4]
        nonfinite = np.sum(~np.isfinite(steps).all(axis=2), axis=0)
        members = self._gathered(range(self.slots))
        outcome = self._evaluator.outcome(members, "validation", samples=1)
        validation = np.stack(
            [
                outcome.kl(),
                self._evaluator.reconstruction(outcome),
                self._evaluator.unexplained(outcome, "validation"),
                *outcome.clip_shares(members),
            ],
            axis=1,
        )  # [K, 5]
        # Weights that broke in the last step only show here.
        nonfinite += (nonfinite == 0) & ~np.isfinite(validation).all(axis=1)
        rows = np.concatenate([means, validation, nonfinite[:, np.newaxis]], axis=1).astype(np.float32)
        for member, row in zip(self._members, rows, strict=True):
            if member.active:
                member.rows.append(row)
                member.epoch += 1
        self._batch, self._steps, self._plan = 0, [], None

    def _trace_start(self, slot: tf.Tensor, key: tf.Tensor) -> None:
        for variable, mean, square, value in zip(
            self._weights, self._means, self._squares, self._draw_weights(key), strict=True
        ):
            variable[slot].assign(value)
            mean[slot].assign(tf.zeros_like(value))
            square[slot].assign(tf.zeros_like(value))

    def _trace_train(self, *inputs: tf.Tensor) -> tf.Tensor:
        """Train batches first..last; what was measured of each step, [batches, K, 4]."""
        plan, first, last = _Plan(*inputs[:-2]), inputs[-2], inputs[-1]
        full = len(self._train_rows) // self._batch_size
        remainder = len(self._train_rows) % self._batch_size
        measured = tf.TensorArray(tf.float32, size=last - first, element_shape=[self.slots, 4])
        for index in tf.range(first, tf.minimum(last, full)):
            measured = measured.write(index - first, self._trace_step(plan, index, self._batch_size))
        if remainder:
            if last > full:
                measured = measured.write(full - first, self._trace_step(plan, tf.constant(full), remainder))
        return measured.stack()

    def _trace_step(self, plan: _Plan, index: tf.Tensor, size: int) -> tf.Tensor:
        """One optimisation step of every member; KL, reconstruction, KL weight and total, [K, 4]."""
        # Slots beyond the last repeat the first: see PACKET in `vae.stacking`.
        padded = stacking.padded_slots(self.slots, size)
        slots = [slot % self.slots for slot in range(padded)]

        def pad(values: tf.Tensor) -> tf.Tensor:
            return values if padded == self.slots else tf.gather(values, slots)

        step = _Step(
            rows=tf.gather(self._train_rows, pad(plan.order[:, index * self._batch_size :][:, :size])),
            noise=pad(self._posterior_noise(plan, index, size)),
            kl_weight=pad(plan.kl_weight[index]),
            clip_low=pad(plan.clip_low),
            clip_high=pad(plan.clip_high),
            l2=pad(plan.l2),
        )
        weights = [pad(variable.read_value()) for variable in self._weights]
        others = [pad(variable.read_value()) for variable in self._others]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            measured, updated = self._loss(weights, others, step)
            loss = tf.reduce_sum(measured[:, -1])
        for variable, mean, square, gradient in zip(
            self._weights, self._means, self._squares, tape.gradient(loss, weights), strict=True
        ):
            gradient = gradient[: self.slots]
            if self._clips_gradients:
                gradient = optimizer.clip_norm(gradient, plan.clipnorm)
            optimizer.adam(variable, mean, square, gradient, plan.step_size[index])
        for variable, value in zip(self._others, updated, strict=True):
            variable.assign(value[: self.slots])
        return measured[: self.slots]

    def _loss(
        self, weights: list[tf.Tensor], others: list[tf.Tensor], step: _Step
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """KL (mean over latents), reconstruction, KL weight and total, [K, 4], and the updated other variables."""
        mean, raw, updated_encoder = self._stacked.encode(weights, others, step.rows, training=True)
        log_var = clip_log_var(raw, step.clip_low[:, tf.newaxis, tf.newaxis], step.clip_high[:, tf.newaxis, tf.newaxis])
        z = sample_posterior(mean, log_var, step.noise)
        output, updated_decoder = self._stacked.decode(weights, others, z, training=True)
        errors = reconstruction_error(tf.reshape(step.rows, tf.shape(output)), output, self._objective)  # [K, B]
        reconstruction = tf.reduce_mean(errors, axis=1) * self._objective.reconstruction_scale(output.shape[2])
        kl = tf.reduce_mean(tf.reduce_mean(kl_elements(mean, log_var), axis=2), axis=1)
        penalty = step.l2 * tf.add_n([tf.reduce_sum(tf.square(weights[head]), axis=[1, 2]) for head in self._heads])
        weighted_kl = step.kl_weight * kl * self._objective.kl_scale(self._network.latent_dim)
        total = reconstruction + weighted_kl + penalty
        return tf.stack([kl, reconstruction, step.kl_weight, total], axis=1), [*updated_encoder, *updated_decoder]

    def _posterior_noise(self, plan: _Plan, index: tf.Tensor, size: int) -> tf.Tensor:
        """ε of every member at a step, [K, B, d]: a function of the member's seed and its own step alone."""
        shape = [size, self._network.latent_dim]
        seeds = tf.stack([plan.noise_key, plan.first_step + index], axis=1)
        return tf.stack([tf.random.stateless_normal(shape, seeds[slot]) for slot in range(self.slots)])
