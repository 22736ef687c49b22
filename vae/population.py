"""K members trained together by one compiled program: the only training path."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import tensorflow as tf

from vae import optimizer, stacking, streams
from vae.curves import CURVE_NAMES, TrainingCurves
from vae.elbo import Objective, clip_log_var, kl_elements, reconstruction_error, sample_posterior
from vae.evaluation import Evaluator, Members, joined
from vae.hyperparameters import Hyperparameters
from vae.measures import Measures
from vae.networks import Network
from vae.plan import Clock, Plan, plan_epoch
from vae.snapshot import MemberState, Snapshot

# Final measures need the outputs of several posterior samples of a whole split: more members at a time cost memory.
_MEASURED_TOGETHER = 8
_T = TypeVar("_T")
# A graph call is kept to about this long, so that signals and time limits are answered.
_CALL_SECONDS = 1.0
_IDLE = Clock(hyperparameters=Hyperparameters(kl_weight=0.0), seed=0, epoch=0)


@dataclass(slots=True)
class _Slot:
    """One member: its settings and time, and what was measured of it."""

    clock: Clock = _IDLE
    active: bool = False
    seconds: float = 0.0
    rows: list[np.ndarray] = field(default_factory=list)  # one per epoch, in the order of CURVE_NAMES


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
    at which it started, or (from K = 2 on) of K.

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
        self._steps: list[np.ndarray] = []  # [batches of a call, K, 4] since the epoch began
        self._seconds_per_batch = 0.0
        self._plan: Plan | None = None
        self._entering: set[int] = set()
        self._draw = tf.function(self._trace_draw, input_signature=[tf.TensorSpec([None], tf.int32)] * 2)
        self._train = tf.function(self._trace_train)

    def compile(self) -> None:
        """Trace the training program now, so that its cost is not counted to the first trials."""
        nobody = tf.zeros([0], tf.int32)
        self._draw(nobody, nobody)
        self._train(*self._make_plan().tensors(), tf.constant(0), tf.constant(0))
        self._validate()

    def start(self, slot: int, hyperparameters: Hyperparameters, seed: int) -> None:
        """Move a new member into a slot: fresh weights, optimizer state and clock. Only between epochs.

        Raises:
            ValueError: the member asks for gradient clipping, and the population was made without.
        """
        if self._batch:
            raise RuntimeError("a member can only start between epochs.")
        if hyperparameters.clipnorm < np.inf and not self._clips_gradients:
            raise ValueError(f"clipnorm is {hyperparameters.clipnorm}, but the population was made without clipping.")
        self._entering.add(slot)
        self._members[slot] = _Slot(Clock(hyperparameters=hyperparameters, seed=seed, epoch=0), active=True)
        self._plan = None

    def stop(self, slot: int) -> None:
        """Take the member out of a slot. Measure or copy it first: the slot's values move on with the others'."""
        self._members[slot].active = False

    def advance(self) -> bool:
        """Train for about a second; True when that ended the epoch of every slot."""
        self._enter()
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
        return self._members[slot].clock.epoch

    def seconds(self, slot: int) -> float:
        """The member's share of the wall time of its epochs."""
        return self._members[slot].seconds

    def curves(self, slot: int) -> TrainingCurves:
        """The member's curves so far."""
        return TrainingCurves.from_rows(np.array(self._members[slot].rows, dtype=np.float32))

    def latest(self, slot: int) -> dict[str, float]:
        """The values of the member's last epoch by curve name; empty before the first has ended."""
        rows = self._members[slot].rows
        return dict(zip(CURVE_NAMES, rows[-1].tolist(), strict=True)) if rows else {}

    def measure(self, slots: Sequence[int], split: str) -> list[Measures]:
        """Final measures of the members in `slots` on a split, in that order."""
        measured: list[Measures] = []
        for first in range(0, len(slots), _MEASURED_TOGETHER):
            group = slots[first : first + _MEASURED_TOGETHER]
            measured += self._evaluator.measure(self._gathered(self._evened(group)), split)[: len(group)]
        return measured

    def member(self, slot: int) -> Members:
        """A copy of the member's values, with a leading axis of one."""
        return self._gathered([slot])

    def measure_members(self, members: Sequence[Members], split: str) -> list[Measures]:
        """Final measures of members that were copied out of their slots, in their order."""
        return self._evaluator.measure(joined(self._evened(members)), split)[: len(members)]

    def weights(self, slot: int) -> list[np.ndarray]:
        """The member's values of the network's trainable variables."""
        return [value[0].numpy() for value in self.member(slot).weights]

    def snapshot(self) -> Snapshot:
        """The active members as they are now: between any two calls of `advance`, in the middle of an epoch too."""
        self._enter()
        active = [slot for slot, member in enumerate(self._members) if member.active]
        values = [value.numpy() for value in stacking.gather(self._stacked_variables(), active)]
        steps = np.concatenate([np.zeros([0, self.slots, 4], np.float32), *self._steps])
        members = {
            slot: MemberState(
                clock=self._members[slot].clock,
                seconds=self._members[slot].seconds,
                curves=self.curves(slot).as_rows(),
                steps=steps[:, slot],
                values=[value[index] for value in values],
            )
            for index, slot in enumerate(active)
        }
        return Snapshot(batch=self._batch, members=members)

    def restore(self, snapshot: Snapshot) -> None:
        """Put members into slots, where they go on bit for bit; other slots are left as they are.

        Raises:
            ValueError: they are members of another network.
            RuntimeError: members of other slots train, and stand elsewhere in their epoch.
        """
        members, variables = snapshot.members, self._stacked_variables()
        others = [member for slot, member in enumerate(self._members) if member.active and slot not in members]
        if others and snapshot.batch != self._batch:
            raise RuntimeError("members can only go on together where they stand at the same batch of an epoch.")
        shapes = [variable.shape[1:] for variable in variables]
        if any([value.shape for value in member.values] != shapes for member in members.values()):
            raise ValueError("the snapshot was taken of another network.")
        self._enter()
        if not members:
            return
        for index, variable in enumerate(variables):
            values = np.stack([member.values[index] for member in members.values()])
            _write(variable, list(members), tf.constant(values, variable.dtype))
        steps = np.zeros([snapshot.batch, self.slots, 4], np.float32)
        for slot, member in members.items():
            self._members[slot] = _Slot(member.clock, True, member.seconds, list(member.curves))
            steps[:, slot] = member.steps
        if not others:
            self._batch, self._steps = snapshot.batch, [steps] if snapshot.batch else []
        self._plan = None

    def _stacked_variables(self) -> list[tf.Variable]:
        return [*self._weights, *self._others, *self._means, *self._squares]

    def _evened(self, chosen: Sequence[_T]) -> list[_T]:
        """Padded to an even number, so that a result does not depend on how many are measured together."""
        return [*chosen, chosen[-1]] if len(chosen) % 2 and self.slots > 1 else list(chosen)

    def _active(self) -> list[_Slot]:
        return [member for member in self._members if member.active]

    def _gathered(self, slots: Sequence[int]) -> Members:
        self._enter()
        chosen = [self._members[slot].clock.hyperparameters for slot in slots]
        return Members(
            weights=stacking.gather(self._weights, slots),
            others=stacking.gather(self._others, slots),
            clip_low=np.array([settings.clip_low for settings in chosen], np.float32),
            clip_high=np.array([settings.clip_high for settings in chosen], np.float32),
        )

    def _make_plan(self) -> Plan:
        clocks = [member.clock for member in self._members]
        return plan_epoch(clocks, rows=len(self._train_rows), steps_per_epoch=self.steps_per_epoch)

    def _end_epoch(self) -> None:
        """Validate every slot, and turn the epoch's steps into a row of each active member's curves."""
        steps = np.concatenate(self._steps)  # [steps, K, 4]
        nonfinite = np.sum(~np.isfinite(steps).all(axis=2), axis=0)
        validation = self._validate()
        # Weights that broke in the last step only show here.
        nonfinite += (nonfinite == 0) & ~np.isfinite(validation).all(axis=1)
        rows = np.concatenate([self._step_means(steps), validation, nonfinite[:, np.newaxis]], axis=1)
        for member, row in zip(self._members, rows.astype(np.float32), strict=True):
            if member.active:
                member.rows.append(row)
                member.clock = replace(member.clock, epoch=member.clock.epoch + 1)
        self._batch, self._steps, self._plan = 0, [], None

    def _step_means(self, steps: np.ndarray) -> np.ndarray:
        """Means over the epoch's rows of what was measured per step: [K, 4] from [steps, K, 4]."""
        sizes = np.full(self.steps_per_epoch, self._batch_size)
        sizes[-1] = len(self._train_rows) - self._batch_size * (self.steps_per_epoch - 1)
        # Not a matrix product: its order of summation may depend on the number of members.
        return np.asarray(np.average(steps.astype(np.float64), axis=0, weights=sizes))

    def _validate(self) -> np.ndarray:
        """The five validation values of every slot, float32 [K, 5], in the order of the curves."""
        members = self._gathered(self._evened(range(self.slots)))
        outcome = self._evaluator.outcome(members, "validation", samples=1)
        values = [
            outcome.kl(),
            self._evaluator.reconstruction(outcome),
            self._evaluator.unexplained(outcome, "validation"),
            *outcome.clip_shares(members),
        ]
        with np.errstate(over="ignore"):  # what float32 cannot hold is as good as infinite
            return np.stack(values, axis=1)[: self.slots].astype(np.float32)

    def _enter(self) -> None:
        """Give the members that started since the last epoch their initial values, all at once."""
        if not self._entering:
            return
        slots = sorted(self._entering)
        self._entering.clear()
        clocks = [self._members[slot].clock for slot in slots]
        keys = [streams.weights_key(clock.seed) for clock in clocks]
        self._draw(tf.constant(slots), tf.constant(keys))
        others = [stacking.initial_others(self._network, clock.seed) for clock in clocks]
        for index, (variable, values) in enumerate(zip(self._others, zip(*others, strict=True), strict=True)):
            rates = [clock.hyperparameters.encoder_dropout for clock in clocks]
            _write(variable, slots, tf.constant(rates, variable.dtype) if index in self._rates else tf.stack(values))

    def _trace_draw(self, slots: tf.Tensor, keys: tf.Tensor) -> None:
        """Fresh weights and optimizer state for the members in `slots`, drawn from their keys."""
        drawn = tf.map_fn(
            self._draw_weights,
            keys,
            fn_output_signature=[variable.dtype for variable in self._weights],
            parallel_iterations=1,  # each draw sets the seed generator's state
        )
        for variable, mean, square, values in zip(self._weights, self._means, self._squares, drawn, strict=True):
            _write(variable, slots, values)
            _write(mean, slots, tf.zeros_like(values))
            _write(square, slots, tf.zeros_like(values))

    def _trace_train(self, *inputs: tf.Tensor) -> tf.Tensor:
        """Train batches first..last; what was measured of each step, [batches, K, 4]."""
        plan, first, last = Plan(*inputs[:-2]), inputs[-2], inputs[-1]
        full = len(self._train_rows) // self._batch_size
        remainder = len(self._train_rows) % self._batch_size
        measured = tf.TensorArray(tf.float32, size=last - first, element_shape=[self.slots, 4])
        for index in tf.range(first, tf.minimum(last, full)):
            measured = measured.write(index - first, self._trace_step(plan, index, self._batch_size))
        if remainder:
            if last > full:
                measured = measured.write(full - first, self._trace_step(plan, tf.constant(full), remainder))
        return measured.stack()

    def _trace_step(self, plan: Plan, index: tf.Tensor, size: int) -> tf.Tensor:
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
        mean, raw, encoding = self._stacked.encode(weights, others, step.rows, training=True)
        log_var = clip_log_var(raw, step.clip_low[:, tf.newaxis, tf.newaxis], step.clip_high[:, tf.newaxis, tf.newaxis])
        z = sample_posterior(mean, log_var, step.noise)
        output, decoding = self._stacked.decode(weights, others, z, training=True)
        errors = reconstruction_error(tf.reshape(step.rows, tf.shape(output)), output, self._objective)  # [K, B]
        reconstruction = tf.reduce_mean(errors, axis=1) * self._objective.reconstruction_scale(output.shape[2])
        kl = tf.reduce_mean(tf.reduce_mean(kl_elements(mean, log_var), axis=2), axis=1)
        weighted_kl = step.kl_weight * kl * self._objective.kl_scale(self._network.latent_dim)
        total = reconstruction + weighted_kl + step.l2 * self._squared_head_norms(weights)
        total += sum([*encoding.losses, *decoding.losses])
        return tf.stack([kl, reconstruction, step.kl_weight, total], axis=1), [*encoding.others, *decoding.others]

    def _squared_head_norms(self, weights: list[tf.Tensor]) -> tf.Tensor:
        """Squared norms of the latent heads' kernels, added up: [K]."""
        squares = [tf.square(weights[head]) for head in self._heads]
        return sum(tf.reduce_sum(square, axis=list(range(1, square.shape.rank))) for square in squares)

    def _posterior_noise(self, plan: Plan, index: tf.Tensor, size: int) -> tf.Tensor:
        """ε of every member at a step, [K, B, d]: a function of the member's seed and its own step alone."""
        shape = [size, self._network.latent_dim]
        seeds = tf.stack([plan.noise_key, plan.first_step + index], axis=1)
        return tf.stack([tf.random.stateless_normal(shape, seeds[slot]) for slot in range(self.slots)])


def _write(variable: tf.Variable, slots: tf.Tensor, values: tf.Tensor) -> None:
    """Put `values` [n, ...] into the rows `slots` of a stacked variable.

    Assigning to a slice would do the same, but from then on every read of the variable copies it.
    """
    variable.assign(tf.tensor_scatter_nd_update(variable, tf.expand_dims(slots, 1), values))
