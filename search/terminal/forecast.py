"""The forecast of a study: one estimate of the time until its search, its proof and its report are done."""

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_MOST_PACKED = 2000
_RECENT_SECONDS = 120.0  # long enough to hold the pauses in which new trials are asked for
_COMPILING_SECONDS = 3.0  # until one has been compiled
_WORTH = 5.0  # times what compiling takes must be left for another layout to be compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Trainings that run one after another in the same slots.

    Attributes:
        trainings: how many there are.
        slots: how many train at a time.
        compiles: whether a program is compiled for them first, or something is done that takes about as long.
    """

    trainings: int = 0
    slots: int = 1
    compiles: bool = False


class Forecast:
    """The time left, from the pace so far and from what is still to be trained.

    A population of K slots takes the same time for an epoch however many of them are filled, so time is counted in its
    epochs: those until the last training ends when each free slot takes the next. How long an epoch takes is what
    it took lately, everything between two epochs included; in other slots it is taken to be in proportion to them.

    Args:
        epochs: of a training that is not ended early.
        clock: seconds.
    """

    def __init__(self, epochs: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs = epochs
        self._clock = clock
        self._ahead: tuple[Stage, ...] = ()
        self._pending = 0
        self._slots = 1
        self._running: dict[int, int] = {}
        self._ended: list[int] = []  # epochs of each training of this stage that has ended
        self._counted = 0
        self._ticks = 0.0
        self._samples: deque[tuple[float, float]] = deque()
        self._per_slot: float | None = None  # seconds of an epoch for each slot, as of earlier stages
        self._compiling = _COMPILING_SECONDS

    def begin(self, stage: Stage, ahead: Sequence[Stage] = ()) -> None:
        """Begin with the trainings of a stage, after which others follow."""
        self._per_slot = self._tick_per_slot()
        self._ahead = tuple(ahead)
        self._pending, self._slots = stage.trainings, stage.slots
        self._running, self._ended, self._counted, self._ticks = {}, [], 0, 0.0
        self._samples = deque([(self._clock(), 0.0)])

    def expect(self, trainings: int) -> None:
        """Take it that so many trainings of this stage have not ended yet."""
        self._pending = trainings

    def start(self) -> None:
        """Take it that an epoch begins now: what came before the first of a stage is no part of the pace."""
        if not self._ticks:
            self._samples = deque([(self._clock(), 0.0)])

    def compiled(self, seconds: float) -> None:
        """Take what compiling a program took."""
        self._compiling = seconds

    def count(self) -> None:
        """Count a training of this stage as ended."""
        self._pending = max(0, self._pending - 1)
        self._counted += 1

    def watch(self, running: Mapping[int, Mapping[str, float]]) -> None:
        """Take the epoch of every running training, by number, as often as the population advances."""
        epochs = {number: int(values["epoch"]) for number, values in running.items()}
        common = [epoch - self._running[number] for number, epoch in epochs.items() if number in self._running]
        self._ended += [epoch for number, epoch in self._running.items() if number not in epochs and epoch]
        self._advance(epochs, self._ticks + (max(common) if common else int(any(epochs.values()))))

    def look(self, running: Mapping[int, Mapping[str, float]]) -> None:
        """Take the epoch of some running trainings, by number, from time to time: what others' slots are seen to do."""
        epochs = {number: int(values["epoch"]) for number, values in running.items()}
        under_way = sum(epochs.values()) / len(epochs) if epochs else 0.0
        self._advance(epochs, max(self._ticks, self._counted * self._epochs / self._slots + under_way))

    def _advance(self, epochs: dict[int, int], ticks: float) -> None:
        self._running, self._ticks = epochs, ticks
        now = self._clock()
        self._samples.append((now, self._ticks))
        # The oldest sample stays until the next one is old enough: an epoch may be longer than that.
        while len(self._samples) > 2 and now - self._samples[1][0] >= _RECENT_SECONDS:
            self._samples.popleft()

    def left(self) -> float | None:
        """Seconds until all is done; None before the first epoch of the first stage."""
        per_slot = self._tick_per_slot()
        if per_slot is None:
            return None
        seconds = self._left_of_stage(per_slot)
        for stage in self._ahead:
            waves = math.ceil(stage.trainings / stage.slots)
            seconds += waves * self._epochs * stage.slots * per_slot
            seconds += self._compiling if stage.compiles else 0.0
        return seconds

    def outlasts_compiling(self) -> bool:
        """Tell whether this stage lasts so long still that compiling its program once more would be little of it."""
        per_slot = self._tick_per_slot()
        return per_slot is not None and self._left_of_stage(per_slot) > _WORTH * self._compiling

    def _left_of_stage(self, per_slot: float) -> float:
        return self._slots * per_slot * self._ticks_left()

    def _tick_per_slot(self) -> float | None:
        if self._ticks and len(self._samples) > 1:
            (first, before), (last, now) = self._samples[0], self._samples[-1]
            if now > before and last > first:
                return (last - first) / (now - before) / self._slots
        return self._per_slot

    def _ticks_left(self) -> float:
        """Epochs of the population until the last training of this stage ends."""
        typical = sum(self._ended) / len(self._ended) if self._ended else self._epochs
        busy = sorted(max(0.0, typical - epoch) for epoch in self._running.values())[: self._slots]
        waiting = max(0, self._pending - len(busy))
        if waiting > _MOST_PACKED:
            return (sum(busy) + waiting * typical) / self._slots
        ends = busy + [0.0] * (self._slots - len(busy))
        heapq.heapify(ends)
        for _ in range(waiting):
            heapq.heapreplace(ends, ends[0] + typical)
        return max(ends, default=0.0)


# Scores on the test split, pictures, tables and the page: as compiling, it is Python at work, and takes as long.
REPORT = Stage(compiles=True)
