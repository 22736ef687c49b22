"""K members trained together by one compiled program: the only training path."""

import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np
import tensorflow as tf

from klsearch.vae.data.rows import Rows
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import Evaluator, Members, joined
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import Network
from klsearch.vae.objective import Objective
from klsearch.vae.training.devices.threads import side_by_side, threads
from klsearch.vae.training.plan import Clock
from klsearch.vae.training.schedules import ADAM, LINEAR, KlSchedule, Learning
from klsearch.vae.training.shard import Program, Shard
from klsearch.vae.training.snapshot import MemberState, Snapshot
from klsearch.vae.training.weighting import AnnealedWeight, Weighting

# Final measures need the outputs of several posterior samples of a whole split: more members at a time cost memory.
_MEASURED_TOGETHER = 8
# A graph call is kept to about this long, so that signals and time limits are answered.
_CALL_SECONDS = 1.0
_IDLE = Clock(hyperparameters=Hyperparameters(kl_weight=0.0), seed=0, epoch=0)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Slot:
    """One member: its settings and time, and what was measured of it."""

    clock: Clock = _IDLE
    active: bool = False
    seconds: float = 0.0
    rows: list[np.ndarray] = field(default_factory=list)  # one per epoch, in the order of CURVE_NAMES


class Population:
    """K slots advanced together, an epoch at a time; a member leaves and the next moves in without recompiling.

    The slots are dealt out to shards of `together` members. Each shard is trained by a thread of its own, which on a
    processor beats dividing every operation among the threads. A member's result is a function of its hyperparameters
    and seed alone: not of its slot, its neighbours, the tick at which it started, or (where `together` is at least 2)
    of K and `together`.

    Args:
        network: the architecture, built once.
        splits: rows by split name ("train", "validation", perhaps "test"), [n, *shape]; NaN where a value is missing.
        conditions: what is told of each row, by split as the rows, float32 [n, c]; None where the network is not
            conditional.
        objective: likelihood and reductions.
        slots: K, the number of members trained at a time.
        together: how many of them one thread trains as one program, a divisor of `slots`; all of them if None.
        batch_size: rows in a step; a last short batch is trained as it is.
        clips_gradients: whether any member will have a finite `clipnorm`; without, its cost is saved.
        schedule: by which the KL weight rises over a member's annealing epochs.
        learning: the optimizer, and how the learning rate falls.
        weighting: how every member's loss weighs the KL; by the KL weight of its settings unless told otherwise.
        xla: whether XLA compiles the steps, which changes their last bits.

    Raises:
        ValueError: a split holds no rows, or fewer training rows than a batch; `together` does not divide `slots`.
    """

    def __init__(
        self,
        network: Network,
        splits: Mapping[str, Rows],
        objective: Objective,
        *,
        conditions: Mapping[str, np.ndarray] | None = None,
        slots: int,
        together: int | None = None,
        batch_size: int,
        clips_gradients: bool = False,
        weighting: Weighting | None = None,
        schedule: KlSchedule = LINEAR,
        learning: Learning = ADAM,
        xla: bool = False,
    ) -> None:
        rows, objective = len(splits["train"]), objective.for_rows(network.input_shape, network.table)
        if rows < batch_size or not len(splits["validation"]):
            raise ValueError(
                f"the training split ({rows} rows) must hold a batch of {batch_size}, and the validation split a row."
            )
        self.slots = slots
        self.together = together or slots
        if slots % self.together:
            raise ValueError(f"{slots} slots cannot be dealt out to shards of {together}.")
        self.steps_per_epoch = -(-rows // batch_size)
        self._batch_size = batch_size
        self._train_rows = rows
        self._clips_gradients = clips_gradients
        self._evaluator = Evaluator(network, splits, objective, conditions=conditions)
        self._new_program = partial(
            Program,
            network,
            splits["train"],
            None if conditions is None else conditions["train"],
            self._evaluator,
            objective,
            batch_size=batch_size,
            clips_gradients=clips_gradients,
            weighting=weighting or AnnealedWeight(),
            schedule=schedule,
            learning=learning,
            xla=xla,
        )
        self._measured_together = _MEASURED_TOGETHER
        self._seconds_per_batch = 0.0
        self._most_together = self.together  # that memory has not proved too small for
        self._begin()

    def _begin(self) -> None:
        """Deal empty slots out to shards."""
        self._program = self._new_program(members=self.together)
        self._shards = [Shard(self._program) for _ in range(self.slots // self.together)]
        self._threads = threads(min(len(self._shards), side_by_side()))
        self._members = [_Slot() for _ in range(self.slots)]
        self._batch = 0
        self._steps: list[np.ndarray] = []  # [batches of a call, K, 4] since the epoch began
        self._is_planned = False
        self._entering: set[int] = set()

    def resize(self, slots: int, together: int) -> None:
        """Empty all slots, and deal so many out to shards of so many, fewer where memory was too small for these."""
        if together > self._most_together:
            together = max(self._even_sizes(slots, self._most_together), default=together)
        self._deal_out(slots, together)

    def train_fewer_together(self) -> bool:
        """Empty all slots and deal them out to more shards: fewer in each take less memory at a time, to the same bits.

        False, and nothing is done, where no fewer can: one member alone would have other bits than two in company.
        """
        fewer = self._even_sizes(self.slots, self.together // 2)
        if not fewer:
            return False
        self._most_together = fewer[-1]
        self._deal_out(self.slots, fewer[-1])
        return True

    @staticmethod
    def _even_sizes(slots: int, most: int) -> list[int]:
        """The even numbers of members, up to `most`, that divide so many slots into shards."""
        return [size for size in range(2, most + 1, 2) if slots % size == 0]

    def _deal_out(self, slots: int, together: int) -> None:
        """Empty all slots, and deal so many out to shards of so many, whose program is compiled anew."""
        self.slots, self.together = slots, together
        self._threads.shutdown()
        self._shards.clear()
        del self._program
        gc.collect()  # a program and its functions hold each other, and its rows lie in the memory that is short
        self._seconds_per_batch = 0.0
        self._begin()

    def compile(self) -> None:
        """Trace the training program now, so that its cost is not counted to the first trials."""

        def once(shard: Shard) -> None:
            shard.enter({0: _IDLE})
            shard.begin([_IDLE] * self.together)
            shard.train(0, 0)
            shard.validate()

        self._map(once, self._shards[:1])

    def traces(self) -> int:
        """The number of times that TensorFlow has traced the training program: constant once it is compiled."""
        return self._program.traces()

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
        self._is_planned = False

    def stop(self, slot: int) -> None:
        """Take the member out of a slot. Measure or copy it first: the slot's values move on with the others'."""
        self._members[slot].active = False

    def advance(self) -> bool:
        """Train for about a second; True when that ended the epoch of every slot."""
        began = time.perf_counter()
        self._enter()
        busy = [index for index in range(len(self._shards)) if any(member.active for member in self._of_shard(index))]
        left = self.steps_per_epoch - self._batch
        # In equal calls: a few batches left over would cost the threads another meeting.
        calls = max(1, round(left * self._seconds_per_batch / _CALL_SECONDS)) if self._seconds_per_batch else left
        last = self._batch - (-left // calls)
        ended = last == self.steps_per_epoch
        steps = np.zeros([last - self._batch, self.slots, 4], np.float32)
        validation = np.zeros([self.slots, 5], np.float32)

        def train(index: int) -> None:
            shard = self._shards[index]
            if not self._is_planned:
                shard.begin([member.clock for member in self._of_shard(index)])
            steps[:, index :: len(self._shards)] = shard.train(self._batch, last)
            if ended:
                validation[index :: len(self._shards)] = shard.validate()

        self._map(train, busy)
        self._seconds_per_batch = (time.perf_counter() - began) / len(steps)
        self._steps.append(steps)
        self._batch, self._is_planned = last, True
        if ended:
            self._end_epoch(validation)
        spent = (time.perf_counter() - began) / self.slots
        for member in self._members:
            member.seconds += spent if member.active else 0.0
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
        self._enter()
        return self._in_room(lambda: self._measure_slots(slots, split))

    def _measure_slots(self, slots: Sequence[int], split: str) -> list[Measures]:
        of_shard = [[slot for slot in slots if slot % len(self._shards) == index] for index in range(len(self._shards))]
        groups = [group for chosen in of_shard for group in self._groups(chosen)]
        measured = self._map(lambda group: self._measure(self._copy(group), split, len(group)), groups)
        by_slot = dict(zip((slot for group in groups for slot in group), chain(*measured), strict=True))
        return [by_slot[slot] for slot in slots]

    def member(self, slot: int) -> Members:
        """A copy of the member's values, with a leading axis of one."""
        self._enter()
        return self._copy([slot], even=False)

    def measure_members(self, members: Sequence[Members], split: str) -> list[Measures]:
        """Final measures of members that were copied out of their slots, in their order."""

        def measure(group: Sequence[Members]) -> list[Measures]:
            return self._measure(joined(self._make_even(group)), split, len(group))

        return list(chain(*self._in_room(lambda: self._map(measure, self._groups(members)))))

    def latent_means(self, members: Sequence[Members], split: str) -> list[np.ndarray]:
        """μ of every row of a split, float64 [n, d], of members that were copied out of their slots, in their order."""

        def find(group: Sequence[Members]) -> list[np.ndarray]:
            return list(self._evaluator.latent_means(joined(self._make_even(group)), split)[: len(group)])

        return list(chain(*self._in_room(lambda: self._map(find, self._groups(members)))))

    def _in_room(self, measure: Callable[[], _Result]) -> _Result:
        """What a measurement of members in groups gives, of smaller groups from now on where memory is too small."""
        while self._measured_together > 2 and self.together > 1:
            try:
                return measure()
            except tf.errors.ResourceExhaustedError:
                self._measured_together //= 2
        return measure()

    def _groups(self, chosen: Sequence[_Item]) -> list[Sequence[_Item]]:
        """Groups that are measured together: a member alone is computed by other code, whose last bit may differ."""
        size = 1 if self.together == 1 else self._measured_together
        return [chosen[first : first + size] for first in range(0, len(chosen), size)]

    def _make_even(self, chosen: Sequence[_Item]) -> list[_Item]:
        """Padded to an even number, so that a result does not depend on how many are measured together."""
        return [*chosen, chosen[-1]] if len(chosen) % 2 and self.together > 1 else list(chosen)

    def _copy(self, slots: Sequence[int], *, even: bool = True) -> Members:
        """Copies of members of one shard."""
        slots = self._make_even(slots) if even else slots
        settings = [self._members[slot].clock.hyperparameters for slot in slots]
        weights, others = self._place(slots[0])[0].models([self._place(slot)[1] for slot in slots])
        return Members(
            weights=weights,
            others=others,
            clip_low=np.array([values.clip_low for values in settings], np.float32),
            clip_high=np.array([values.clip_high for values in settings], np.float32),
        )

    def _measure(self, members: Members, split: str, count: int) -> list[Measures]:
        return self._evaluator.measure(members, split)[:count]

    def weights(self, slot: int) -> list[np.ndarray]:
        """The member's values of the network's trainable variables."""
        return [value[0].numpy() for value in self.member(slot).weights]

    def snapshot(self) -> Snapshot:
        """The active members as they are now: between any two calls of `advance`, in the middle of an epoch too."""
        self._enter()
        steps = np.concatenate([np.zeros([0, self.slots, 4], np.float32), *self._steps])
        members = {}
        for index, shard in enumerate(self._shards):
            slots = [slot for slot in range(index, self.slots, len(self._shards)) if self._members[slot].active]
            for slot, values in zip(slots, shard.read([self._place(slot)[1] for slot in slots]), strict=True):
                members[slot] = MemberState(
                    clock=self._members[slot].clock,
                    seconds=self._members[slot].seconds,
                    curves=self.curves(slot).as_rows(),
                    steps=steps[:, slot],
                    values=values,
                )
        return Snapshot(batch=self._batch, members=members)

    def restore(self, snapshot: Snapshot) -> None:
        """Put members into slots, where they go on bit for bit; other slots are left as they are.

        Raises:
            ValueError: they are members of another network.
            RuntimeError: members of other slots train, and they or these stand in the middle of an epoch.
        """
        members = snapshot.members
        others = [member for slot, member in enumerate(self._members) if member.active and slot not in members]
        if others and (snapshot.batch or self._batch):
            raise RuntimeError("a member can only join others between epochs.")
        if any(not self._shards[0].fits(member.values) for member in members.values()):
            raise ValueError("the snapshot was taken of another network.")
        self._enter()
        if not members:
            return
        steps = np.zeros([snapshot.batch, self.slots, 4], np.float32)
        for slot, member in members.items():
            shard, place = self._place(slot)
            shard.write(place, member.values)
            self._members[slot] = _Slot(member.clock, True, member.seconds, list(member.curves))
            steps[:, slot] = member.steps
        if not others:
            self._batch, self._steps = snapshot.batch, [steps] if snapshot.batch else []
        self._is_planned = False

    def _place(self, slot: int) -> tuple[Shard, int]:
        """The shard of a slot and the slot's place in it: dealt out in turn, so that few members still spread out."""
        return self._shards[slot % len(self._shards)], slot // len(self._shards)

    def _of_shard(self, index: int) -> list[_Slot]:
        return self._members[index :: len(self._shards)]

    def _map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """The results of `work` for all items, in their order."""
        return list(self._threads.map(work, items))

    def _end_epoch(self, validation: np.ndarray) -> None:
        """Turn the epoch's steps and its validation into a row of each active member's curves."""
        steps = np.concatenate(self._steps)  # [steps, K, 4]
        nonfinite = np.sum(~np.isfinite(steps).all(axis=2), axis=0)
        # Weights that broke in the last step only show here.
        nonfinite += (nonfinite == 0) & ~np.isfinite(validation).all(axis=1)
        rows = np.concatenate([self._step_means(steps), validation, nonfinite[:, np.newaxis]], axis=1)
        for member, row in zip(self._members, rows.astype(np.float32), strict=True):
            if member.active:
                member.rows.append(row)
                member.clock = replace(member.clock, epoch=member.clock.epoch + 1)
        self._batch, self._steps, self._is_planned = 0, [], False

    def _step_means(self, steps: np.ndarray) -> np.ndarray:
        """Means over the epoch's rows of what was measured per step: [K, 4] from [steps, K, 4]."""
        sizes = np.full(self.steps_per_epoch, self._batch_size)
        sizes[-1] = self._train_rows - self._batch_size * (self.steps_per_epoch - 1)
        # Not a matrix product: its order of summation may depend on the number of members.
        return np.asarray(np.average(steps.astype(np.float64), axis=0, weights=sizes))

    def _enter(self) -> None:
        """Give the members that started since the last epoch their initial values."""
        entering: dict[int, dict[int, Clock]] = {}  # by shard and place
        for slot in sorted(self._entering):
            place, index = divmod(slot, len(self._shards))
            entering.setdefault(index, {})[place] = self._members[slot].clock
        for index, clocks in entering.items():  # one after the other: the program draws from one generator
            self._shards[index].enter(clocks)
        self._entering.clear()
