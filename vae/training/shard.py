"""Some members of a population, trained by one thread in one compiled program that all shards share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from klsearch.vae.data.rows import Rows
from klsearch.vae.elbo import clip_log_var, kl_elements, reconstruction_error, sample_posterior
from klsearch.vae.evaluation.evaluator import Evaluator
from klsearch.vae.evaluation.held_rows import HeldRows
from klsearch.vae.layers import traced_for_xla
from klsearch.vae.networks import stacking, streams
from klsearch.vae.networks.network import Network
from klsearch.vae.objective import Objective
from klsearch.vae.training.optimizer import OPTIMIZERS, Step, clip_norm
from klsearch.vae.training.plan import Clock, Plan, plan_epoch
from klsearch.vae.training.schedules import KlSchedule, Learning
from klsearch.vae.training.weighting import Terms, Weighting


class _State(NamedTuple):
    """Everything that training changes: stacked variables, each [k, ...]."""

    weights: list[tf.Variable]
    others: list[tf.Variable]
    means: list[tf.Variable]
    squares: list[tf.Variable]
    memory: list[tf.Variable]

    def variables(self) -> list[tf.Variable]:
        """All of them, in the order of the fields."""
        return [variable for variables in self for variable in variables]


class _Now(NamedTuple):
    """What one step takes out of the plan."""

    order: tf.Tensor  # [k, B] int32: rows
    kl_weight: tf.Tensor  # [k], annealed
    step_size: tf.Tensor  # [k]
    learning_rate: tf.Tensor  # [k]
    noise_seeds: tf.Tensor  # [k, 2] int32
    settings: dict[str, tf.Tensor]  # each [k]: every hyperparameter by name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """What one step needs of every member."""

    rows: tf.Tensor  # [k, B, *shape]
    condition: tf.Tensor | None  # [k, B, c]
    noise: tf.Tensor  # [k, B, d]
    kl_weight: tf.Tensor  # [k], annealed
    settings: dict[str, tf.Tensor]  # each [k]: every hyperparameter by name


class Program:
    """The compiled functions that train `members` members of one architecture.

    They take the variables that they change, so one trace serves every shard.

    Args:
        network: the architecture, built once.
        train_rows: [n, *shape], NaN where a value is missing.
        condition: what is told of them, float32 [n, c]; None where nothing is.
        evaluator: of the same network.
        objective: likelihood and reductions.
        members: k, the number of members trained together.
        batch_size: rows in a step; a last short batch is trained as it is.
        clips_gradients: whether any member will have a finite `clipnorm`; without, its cost is saved.
        weighting: how every member's loss is made.
        schedule: by which the KL weight rises.
        learning: the optimizer, and how the learning rate falls.
        xla: whether XLA compiles a step; its last bits are others then.
    """

    def __init__(
        self,
        network: Network,
        train_rows: Rows,
        condition: np.ndarray | None,
        evaluator: Evaluator,
        objective: Objective,
        *,
        members: int,
        batch_size: int,
        clips_gradients: bool,
        weighting: Weighting,
        schedule: KlSchedule,
        learning: Learning,
        xla: bool = False,
    ) -> None:
        self.network = network
        self.learning = learning
        self.schedule = schedule
        self.members = members
        self.steps_per_epoch = -(-len(train_rows) // batch_size)
        self.rows = HeldRows(train_rows)
        self._condition = None if condition is None else tf.constant(condition)
        self._evaluator = evaluator
        self._gaps = evaluator.gaps
        self._objective = objective
        self._batch_size = batch_size
        self._clips_gradients = clips_gradients
        self._weighting = weighting
        self._stacked = stacking.StackedNetwork(network)
        self._draw_weights = stacking.initial_values(network)
        trainable = stacking.trainable_variables(network)
        heads = {id(kernel) for kernel in network.latent_head_kernels()}
        self._heads = [index for index, variable in enumerate(trainable) if id(variable) in heads]
        # Loops are written out: AutoGraph, which Keras too keeps from its models, would double the time of a trace.
        self.draw = tf.function(self._trace_draw, autograph=False)
        self.train = tf.function(self._trace_train, autograph=False)
        # Of a step alone, and of values that are taken out of the plan before: XLA compiles anew for each length of a
        # loop that keeps what it measures, and for each place of a slice.
        self._move = tf.function(self._trace_xla_move, autograph=False, jit_compile=True) if xla else self._trace_move
        self.validate = tf.function(self._trace_validate, autograph=False)

    def traces(self) -> int:
        """How often TensorFlow has traced one of the programs."""
        programs = (self.draw, self.train, self.validate)
        return sum(program.experimental_get_tracing_count() for program in programs)

    def new_state(self) -> _State:
        """Variables of a shard, all zero."""
        trainable, others = stacking.trainable_variables(self.network), stacking.other_variables(self.network)
        weights, means, squares = (stacking.stack(trainable, self.members) for _ in range(3))
        memory = [tf.Variable(tf.zeros([self.members]), name="memory") for _ in range(self._weighting.memories)]
        return _State(weights, stacking.stack(others, self.members), means, squares, memory)

    def _trace_draw(
        self, state: _State, count: tf.Tensor, places: tf.Tensor, keys: tf.Tensor, others: list[tf.Tensor]
    ) -> None:
        """Fresh weights, drawn from its key, optimizer state, and these other values for the first `count` members.

        Places and keys are int32 [k], the others [k, ...]: as many as there are places, so that none is traced again.
        """

        def draw(index: tf.Tensor) -> list[tf.Tensor]:
            place = places[index]
            for variable, values in zip(state.others, others, strict=True):
                _write(variable, place, values[index])
            drawn = self._draw_weights(keys[index])
            for variable, mean, square, value in zip(state.weights, state.means, state.squares, drawn, strict=True):
                _write(variable, place, value)
                _write(mean, place, tf.zeros_like(value))
                _write(square, place, tf.zeros_like(value))
            for variable in state.memory:
                _write(variable, place, tf.zeros([]))
            return [index + 1]

        tf.while_loop(lambda index: index < count, draw, [tf.constant(0)])

    def _trace_train(self, state: _State, plan: Plan, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """Train batches first..last; what was measured of each step, [batches, k, 4]."""
        full, remainder = divmod(self.rows.count, self._batch_size)

        def step(index: tf.Tensor, measured: tf.TensorArray, size: int) -> tuple[tf.Tensor, tf.TensorArray]:
            return index + 1, measured.write(index - first, self._trace_step(state, plan, index, size))

        measured = tf.TensorArray(tf.float32, size=last - first, element_shape=[self.members, 4])
        _, measured = tf.while_loop(
            lambda index, _: index < tf.minimum(last, full),
            lambda index, measured: step(index, measured, self._batch_size),
            (first, measured),
        )
        if remainder:
            _, measured = tf.while_loop(
                lambda index, _: index < last,
                lambda index, measured: step(index, measured, remainder),
                (tf.maximum(first, full), measured),
            )
        return measured.stack()

    def _trace_step(self, state: _State, plan: Plan, index: tf.Tensor, size: int) -> tf.Tensor:
        """One optimisation step of every member; KL, reconstruction, KL weight and total, [k, 4]."""
        now = _Now(
            # A slice of known size: much of the program is then worked out when it is traced.
            order=tf.slice(plan.order, [0, index * self._batch_size], [self.members, size]),
            kl_weight=plan.kl_weight[index],
            step_size=plan.step_size[index],
            learning_rate=plan.learning_rate,
            noise_seeds=tf.stack([plan.noise_key, plan.first_step + index], axis=1),
            settings=plan.settings,
        )
        return self._move(state, now)

    def _trace_xla_move(self, state: _State, now: _Now) -> tf.Tensor:
        with traced_for_xla():
            return self._trace_move(state, now)

    def _trace_move(self, state: _State, now: _Now) -> tf.Tensor:
        """The step itself."""
        size = int(now.order.shape[1])
        # Members beyond the last repeat the first: see PACKET in `vae.networks.stacking`.
        padded = stacking.padded_slots(self.members, size)
        places = [place % self.members for place in range(padded)]

        def pad(values: tf.Tensor) -> tf.Tensor:
            return values if padded == self.members else tf.gather(values, places)

        def unpad(values: tf.Tensor) -> tf.Tensor:
            return values if padded == self.members else values[: self.members]

        visited = pad(now.order)
        step = _Step(
            rows=self.rows.take(visited),
            condition=None if self._condition is None else tf.gather(self._condition, visited),
            noise=pad(self._posterior_noise(now.noise_seeds, size)),
            kl_weight=pad(now.kl_weight),
            settings={name: pad(values) for name, values in now.settings.items()},
        )
        weights = [pad(variable.read_value()) for variable in state.weights]
        others = [pad(variable.read_value()) for variable in state.others]
        memory = [pad(variable.read_value()) for variable in state.memory]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            measured, updated, kept = self._loss(weights, others, memory, step)
            loss = tf.reduce_sum(measured[:, -1])
        # A model of a user's own may have weights that the loss does not depend on, or that are looked up by row.
        found = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients = [unpad(tf.convert_to_tensor(gradient)) for gradient in found]
        if self._clips_gradients:
            gradients = [clip_norm(gradient, now.settings["clipnorm"]) for gradient in gradients]
        moved = state.weights, state.means, state.squares
        OPTIMIZERS[self.learning.optimizer].move(Step(*moved, gradients, now.step_size, now.learning_rate))
        for variable, value in zip([*state.others, *state.memory], [*updated, *kept], strict=True):
            variable.assign(unpad(value))
        return unpad(measured)

    def _loss(
        self, weights: list[tf.Tensor], others: list[tf.Tensor], memory: list[tf.Tensor], step: _Step
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """KL (mean over latents), reconstruction, KL weight and total, [k, 4]; updated other variables; memory."""
        rows, known = self._gaps.separate(step.rows)
        mean, raw, encoding = self._stacked.encode(weights, others, rows, training=True, condition=step.condition)
        low, high = (step.settings[bound][:, tf.newaxis, tf.newaxis] for bound in ("clip_low", "clip_high"))
        log_var = clip_log_var(raw, low, high)
        z = sample_posterior(mean, log_var, step.noise)
        output, decoding = self._stacked.decode(weights, others, z, training=True, condition=step.condition)
        features = math.prod(self.network.input_shape)
        rows = tf.reshape(rows, [*rows.shape[:2], features])
        known = None if known is None else tf.reshape(known, rows.shape)
        errors = reconstruction_error(rows, output, self._objective.likelihood, known)  # [k, B]
        error = tf.reduce_mean(errors, axis=1)
        kl_values = kl_elements(mean, log_var)
        kl = tf.reduce_mean(tf.reduce_mean(kl_values, axis=2), axis=1)
        # What a latent lacks of its free nats is made up for: max(KL, free) (Kingma et al. 2016, appendix C.8).
        lacking = tf.nn.relu(step.settings["free_bits"][:, tf.newaxis] - tf.reduce_mean(kl_values, axis=1))
        terms = Terms(
            error=error,
            reconstruction=error * self._objective.reconstruction_scale(features),
            kl=kl,
            floored_kl=kl + tf.reduce_mean(lacking, axis=1),
            annealed=step.kl_weight,
            features=features,
            latent_dim=self.network.latent_dim,
            objective=self._objective,
            known=None if known is None else tf.reduce_mean(tf.reduce_sum(known, axis=2), axis=1),
        )
        weighed = self._weighting.weigh(terms, memory)
        total = weighed.loss + step.settings["l2"] * self._squared_head_norms(weights)
        total += sum([*encoding.losses, *decoding.losses])
        measured = tf.stack([terms.kl, terms.reconstruction, weighed.kl_weight, total], axis=1)
        return measured, [*encoding.others, *decoding.others], weighed.memory

    def _squared_head_norms(self, weights: list[tf.Tensor]) -> tf.Tensor:
        """Squared norms of the latent heads' kernels, added up: [k]."""
        squares = [tf.square(weights[head]) for head in self._heads]
        return sum(tf.reduce_sum(square, axis=list(range(1, square.shape.rank))) for square in squares)

    def _posterior_noise(self, seeds: tf.Tensor, size: int) -> tf.Tensor:
        """ε of every member at a step, [k, B, d]: a function of the member's seed and its own step alone."""
        shape = [size, self.network.latent_dim]
        return tf.stack([tf.random.stateless_normal(shape, seeds[place]) for place in range(self.members)])

    def _trace_validate(self, state: _State, plan: Plan) -> tf.Tensor:
        """The five validation values of every member, [k, 5], in the order of the curves."""
        # An odd number of members has other bits than an even one; rows are padded by the evaluator.
        places = [*range(self.members), 0] if self.members % 2 and self.members > 1 else None

        def pad(values: tf.Tensor) -> tf.Tensor:
            return values if places is None else tf.gather(values, places)

        weights = [pad(variable.read_value()) for variable in state.weights]
        others = [pad(variable.read_value()) for variable in state.others]
        measures = self._evaluator.epoch_measures(
            weights, others, *(pad(plan.settings[bound]) for bound in ("clip_low", "clip_high"))
        )
        return measures[: self.members]


class Shard:
    """k members that one thread trains, each in its place."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._state = program.new_state()
        self._plan: Plan | None = None
        rates = {id(layer.rate) for layer in program.network.searched_dropouts()}
        others = stacking.other_variables(program.network)
        self._rates = [index for index, variable in enumerate(others) if id(variable) in rates]

    def begin(self, clocks: Sequence[Clock]) -> None:
        """Plan the next epoch of every member."""
        program = self._program
        self._plan = plan_epoch(
            clocks,
            rows=program.rows.count,
            steps_per_epoch=program.steps_per_epoch,
            schedule=program.schedule,
            learning=program.learning,
        )

    def train(self, first: int, last: int) -> np.ndarray:
        """Train batches first..last of the planned epoch; what was measured of each step, float32 [batches, k, 4]."""
        measured = self._program.train(self._state, self._plan, tf.constant(first), tf.constant(last))
        return np.asarray(measured.numpy())

    def validate(self) -> np.ndarray:
        """The five validation values of every member, float32 [k, 5], in the order of the curves."""
        return np.asarray(self._program.validate(self._state, self._plan).numpy())

    def enter(self, clocks: Mapping[int, Clock]) -> None:
        """Give members that start, by place, their initial values."""
        # Values that are not used fill up to k, so that one trace serves any number of members.
        starting = [*clocks.items(), *[next(iter(clocks.items()))] * (self._program.members - len(clocks))]
        others = zip(*(self._initial_others(clock) for _, clock in starting), strict=True)
        self._program.draw(
            self._state,
            tf.constant(len(clocks)),
            tf.constant([place for place, _ in starting]),
            tf.constant([streams.weights_key(clock.seed) for _, clock in starting]),
            [tf.stack(values) for values in others],
        )

    def _initial_others(self, clock: Clock) -> list[tf.Tensor]:
        others = stacking.initial_others(self._program.network, clock.seed)
        for index in self._rates:
            others[index] = tf.constant(clock.hyperparameters.encoder_dropout, others[index].dtype)
        return others

    def models(self, places: Sequence[int]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Members' values of the network's trainable variables and of its other variables, each [n, ...]."""
        return stacking.gather(self._state.weights, places), stacking.gather(self._state.others, places)

    def read(self, places: Sequence[int]) -> list[list[np.ndarray]]:
        """Members' values of all variables: weights, other variables, and the optimizer's two moments."""
        values = [variable.numpy() for variable in self._state.variables()]
        return [[value[place] for value in values] for place in places]

    def fits(self, values: Sequence[np.ndarray]) -> bool:
        """Whether these are a member's values of all variables, by their shapes."""
        return [value.shape for value in values] == [variable.shape[1:] for variable in self._state.variables()]

    def write(self, place: int, values: Sequence[np.ndarray]) -> None:
        """Put a member's values of all variables into its place."""
        for variable, value in zip(self._state.variables(), values, strict=True):
            _write(variable, tf.constant(place), tf.constant(value, variable.dtype))


def _write(variable: tf.Variable, place: tf.Tensor, value: tf.Tensor) -> None:
    """Put `value` into the row `place` of a stacked variable.

    Assigning to a slice would do the same, but from then on every read of the variable copies it.
    """
    variable.assign(tf.tensor_scatter_nd_update(variable, tf.reshape(place, [1, 1]), value[tf.newaxis]))
