"""The number of members to train at a time: measured on the real model when a study is created, and remembered."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from klsearch.search.layout import MEMORY_SHARE, Layout, blocks_of, least_together, most_slots
from klsearch.search.terminal.progress import step_time
from klsearch.search.training.step_times import StepTimes
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.verdict.words import count
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.host.machine import free_memory
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.stacking import trains_alone
from klsearch.vae.training.devices.cards import card_memory
from klsearch.vae.training.slot_timing import seconds_per_member

# Weights, two moments, gradients and their temporary copies, and the activations of a batch that the gradients need.
_COPIES = 8


def auto_layout(
    network: Network,
    dataset: Dataset,
    definition: StudyDefinition,
    *,
    threads: int,
    processes: int,
    memories: Callable[[bool], StepTimes],
    anew: bool = False,
    say: Callable[[str], None],
) -> Layout:
    """The layout that finishes the study's budget soonest, with no more members than fit into free memory.

    On a card that is the card's memory. There steps are timed with XLA too, where trials need not repeat to the bit.

    What a step takes is measured with every thread at work, for they share the memory's bandwidth.

    Args:
        network: the architecture.
        dataset: its rows.
        definition: of the study; its budget is what one process trains.
        threads: of this machine; a card counts as one.
        processes: that divide these threads, and the machine's memory or the card's, among them.
        memories: of what was measured before, and of what is measured now; of steps that XLA compiles if told True.
        anew: whether to measure even what is remembered.
        say: is told what is measured and chosen.
    """
    batch_size, of_card = definition.training.batch_size, card_memory()
    on_card = of_card is not None
    fitting = count_fitting(network, batch_size, memory=free_memory() if of_card is None else of_card) // processes
    most = max(2, min(most_slots(definition, on_card=on_card), fitting))
    least = least_together(definition)
    shards = min(max(1, threads // processes), most // least)
    candidates = [2**power for power in range(12) if least <= 2**power <= most // shards]
    alone = trains_alone(network)
    candidates = candidates[:1] if alone else candidates
    found, remembered = dict[bool, dict[int, float]](), True
    # On processors XLA was slower for every model tried; with it a trial's last bits depend on its slot and company.
    for xla in (False, True) if on_card and not definition.training.deterministic else (False,):
        memory = memories(xla)
        times = None if anew else memory.recall(candidates)
        if times is None:
            if remembered:  # none has been measured yet
                say("Measuring how many trials to train at a time…")
            remembered = False
            times = _measure(network, dataset, definition, candidates, shards=shards, xla=xla)
            if times is None:
                break
            memory.keep(candidates, times)
        found[xla] = times
    xla = min(found, key=lambda compiled: min(found[compiled].values()))
    layout = best_layout(found[xla], blocks=blocks_of(definition), least=least, most=most, shards=shards)
    layout = replace(layout, xla=xla)
    seconds = ", ".join(f"{step_time(value)} with {number * shards}" for number, value in found[xla].items())
    reason = (
        "in company their last bits would depend on their places" if alone else "sharing a program makes none faster"
    )
    earlier = ", remembered from an earlier study" if remembered else ""
    why = "" if layout.together > 1 else f"; {reason}, so each trains alone"
    say(
        f"Training {count(layout.slots, 'trial')} at a time, {layout.together} in each of {count(shards, 'thread')}. A "
        f"training step of one took {seconds} at a time{_xla_words(found, xla)}{earlier}{why}."
    )
    return layout


def _measure(
    network: Network,
    dataset: Dataset,
    definition: StudyDefinition,
    candidates: Sequence[int],
    *,
    shards: int,
    xla: bool,
) -> dict[int, float] | None:
    """What a step takes by the number of members; None where XLA cannot compile a layer of the user's own."""
    rows = dataset.train[: definition.training.batch_size]
    try:
        return seconds_per_member(network, rows, definition.objective(), candidates, shards=shards, xla=xla)
    except tf.errors.OpError:
        if not xla:
            raise
        return None


def _xla_words(found: Mapping[bool, Mapping[int, float]], xla: bool) -> str:
    """What the faster way of compiling is, where both were measured."""
    if len(found) == 1:
        return ""
    slower = step_time(min(found[not xla].values()))
    return f", compiled by XLA ({slower} without it)" if xla else f" ({slower} compiled by XLA)"


def best_layout(times: Mapping[int, float], *, blocks: Sequence[int], least: int = 1, most: int, shards: int) -> Layout:
    """The layout of the least estimated time for blocks of trials, one after the other.

    Every wave costs its whole population, empty slots included: ⌈trials / K⌉ · K · t for each block, with t, the
    seconds per member, interpolated between the measured numbers of members together in their logarithm. Of layouts
    within 3 % of the best the smallest: the sampler learns from more waves.

    >>> best_layout({1: 3.0, 2: 2.0, 4: 1.5, 8: 1.0}, blocks=[100], most=25, shards=2)
    Layout(slots=20, together=10, within=1, xla=False)
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
    return max(2, int(MEMORY_SHARE * memory / (4 * (_COPIES * weights + _COPIES * activations))))


def _sizes(layer: object) -> tuple[int, ...]:
    shape = getattr(getattr(layer, "output", None), "shape", None) or (None, 0)
    return tuple(size or 1 for size in shape[1:])
