"""How many members to train at a time: measured once, on the real model, when a study is created."""

import math
import os
from collections.abc import Callable, Mapping

import numpy as np

from search.models import objective_of
from studies.definition import StudyDefinition
from vae.datasets import Dataset
from vae.networks import Network
from vae.slot_timing import seconds_per_member

_MOST = 128
# Weights, two moments, gradients and their temporary copies, and the activations of a batch that the gradients need.
_COPIES = 8
_MEMORY_SHARE = 0.25


def auto_slots(network: Network, dataset: Dataset, definition: StudyDefinition, *, say: Callable[[str], None]) -> int:
    """The number of slots that finishes the study's budget soonest.

    At most a quarter of the budget, so that the sampler gets to learn from some trials before it suggests the others,
    and no more than fit into a quarter of the free memory. The measured time per member is weighed with the slots that
    stay empty in the last wave.
    """
    trials = definition.study.trials
    most = max(2, min(_MOST, trials // 4, _fitting(network, definition.training.batch_size)))
    least = 2 if definition.model.kind == "dense" else 1
    say("Measuring how many members to train at a time…")
    candidates = [2**power for power in range(12) if least <= 2**power <= most]
    rows = dataset.train[: definition.training.batch_size]
    times = seconds_per_member(network, rows, objective_of(definition), candidates)
    slots = best_slots(times, trials=trials, most=most)
    seconds = ", ".join(f"{1000 * value:.2g} ms at {count}" for count, value in times.items())
    say(f"Training {slots} members at a time (one step of one member took {seconds}; budget {trials} trials).")
    return slots


def best_slots(times: Mapping[int, float], *, trials: int, most: int) -> int:
    """The even number of slots (or 1) of the least estimated time for `trials` trials.

    Every wave costs its whole population, empty slots included: ⌈trials / K⌉ · K · t(K), with t interpolated between
    the measured numbers in log K. Of equal ones the smaller: the sampler learns from more waves.

    >>> best_slots({2: 2.0, 4: 1.5, 8: 1.0, 16: 1.0, 32: 1.0}, trials=100, most=25)
    10
    """
    measured = sorted(times)
    counts = [count for count in range(measured[0], min(most, measured[-1]) + 1) if count == 1 or count % 2 == 0]
    logs = [math.log2(count) for count in measured]

    def estimate(count: int) -> float:
        per_member = float(np.interp(math.log2(count), logs, [times[known] for known in measured]))
        return math.ceil(trials / count) * count * per_member

    return min(counts, key=lambda count: (estimate(count), count))


def _fitting(network: Network, batch_size: int) -> int:
    """How many members fit into the memory that may be used."""
    models = (network.encoder, network.decoder)
    weights = sum(model.count_params() for model in models)
    activations = batch_size * sum(math.prod(_sizes(layer)) for model in models for layer in model.layers)
    return max(2, int(_MEMORY_SHARE * _free_memory() / (4 * (_COPIES * weights + _COPIES * activations))))


def _sizes(layer: object) -> tuple[int, ...]:
    shape = getattr(getattr(layer, "output", None), "shape", None) or (None, 0)
    return tuple(size or 1 for size in shape[1:])


def _free_memory() -> int:
    """Bytes that the system can give without swapping; half of what is built in where it does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            available = next(line for line in file if line.startswith("MemAvailable"))
        return int(available.split()[1]) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
