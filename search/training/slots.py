"""The number of members to train at a time: measured on the real model when a study is created, and remembered."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from klsearch.search.layout import Layout, blocks_of, least_together, most_slots
from klsearch.search.terminal.progress import step_time
from klsearch.search.training.step_times import StepTimes
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.verdict.words import count
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.machine import free_memory
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.stacking import trains_alone
from klsearch.vae.training.slot_timing import seconds_per_member

# Weights, two moments, gradients and their temporary copies, and the activations of a batch that the gradients need.
_COPIES = 8
_MEMORY_SHARE = 0.25


def auto_layout(
    network: Network,
    dataset: Dataset,
    definition: StudyDefinition,
    *,
    threads: int,
    processes: int,
    memory: StepTimes,
    anew: bool = False,
    say: Callable[[str], None],
) -> Layout:
    """The layout that finishes the study's budget soonest, with no more members than fit into free memory.

    What a step takes is measured with every thread at work, for they share the memory's bandwidth.

    Args:
        network: the architecture.
        dataset: its rows.
        definition: of the study; its budget is what one process trains.
        threads: of this machine.
        processes: that divide this machine's threads and memory among them.
        memory: of what was measured before, and of what is measured now.
        anew: whether to measure even what is remembered.
        say: is told what is measured and chosen.
    """
    batch_size = definition.training.batch_size
    most = max(2, min(most_slots(definition), count_fitting(network, batch_size, memory=free_memory()) // processes))
    least = least_together(definition)
    shards = min(max(1, threads // processes), most // least)
    candidates = [2**power for power in range(12) if least <= 2**power <= most // shards]
    alone = trains_alone(network)
    candidates = candidates[:1] if alone else candidates
    times, remembered = None if anew else memory.recall(candidates), ", remembered from an earlier study"
    if times is None:
        say("Measuring how many trials to train at a time…")
        rows, remembered = dataset.train[:batch_size], ""
        times = seconds_per_member(network, rows, definition.objective(), candidates, shards=shards)
        memory.keep(candidates, times)
    layout = best_layout(times, blocks=blocks_of(definition), least=least, most=most, shards=shards)
    seconds = ", ".join(f"{step_time(value)} with {number * shards}" for number, value in times.items())
    reason = (
        "in company their last bits would depend on their places" if alone else "sharing a program makes none faster"
    )
    why = "" if layout.together > 1 else f"; {reason}, so each trains alone"
    say(
        f"Training {count(layout.slots, 'trial')} at a time, {layout.together} in each of {count(shards, 'thread')}. A "
        f"training step of one took {seconds} at a time{remembered}{why}."
    )
    return layout


def best_layout(times: Mapping[int, float], *, blocks: Sequence[int], least: int = 1, most: int, shards: int) -> Layout:
    """The layout of the least estimated time for blocks of trials, one after the other.

    Every wave costs its whole population, empty slots included: ⌈trials / K⌉ · K · t for each block, with t, the
    seconds per member, interpolated between the measured numbers of members together in their logarithm. Of layouts
    within 3 % of the best the smallest: the sampler learns from more waves.

    >>> best_layout({1: 3.0, 2: 2.0, 4: 1.5, 8: 1.0}, blocks=[100], most=25, shards=2)
    Layout(slots=20, together=10, within=1)
    """
    measured = sorted(times)
    counts = [count for count in range(least, most // shards + 1) if count == 1 or count % 2 == 0]
    logs = [math.log2(count) for count in measured]

    def estimate(count: int) -> float:
        per_member = float(np.interp(math.log2(count), logs, [times[known] for known in measured]))
        waves = sum(math.ceil(trials / (count * shards)) for trials in blocks)
        return waves * count * shards * per_member

    soonest = min(map(estimate, counts))
    together = next(count for count in counts if estimate(count) <= 1.03 * soonest)
    return Layout(together * shards, together)


def count_fitting(network: Network, batch_size: int, *, memory: int) -> int:
    """Count the members that fit into the share that they may take of free memory, in bytes."""
    models = (network.encoder, network.decoder)
    weights = sum(model.count_params() for model in models)
    activations = batch_size * sum(math.prod(_sizes(layer)) for model in models for layer in model.layers)
    return max(2, int(_MEMORY_SHARE * memory / (4 * (_COPIES * weights + _COPIES * activations))))


def _sizes(layer: object) -> tuple[int, ...]:
    shape = getattr(getattr(layer, "output", None), "shape", None) or (None, 0)
    return tuple(size or 1 for size in shape[1:])
