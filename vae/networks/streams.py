"""Random numbers that belong to a trial: its seed and its own clock decide them, never its slot or its neighbours."""

from enum import IntEnum

import numpy as np


class _Stream(IntEnum):
    """Independent streams of one trial."""

    WEIGHTS = 0
    NOISE = 1
    LAYERS = 2
    ORDER = 3


def _key(seed: int, *path: int) -> int:
    """31 bits drawn from a seed and a path below it."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0]) & 0x7FFFFFFF


def weights_key(seed: int) -> int:
    """Seed of a trial's initial weights."""
    return _key(seed, _Stream.WEIGHTS)


def noise_key(seed: int) -> int:
    """First half of the stateless seed of a trial's posterior noise; the second half is its own step."""
    return _key(seed, _Stream.NOISE)


def layer_key(seed: int, layer: int) -> int:
    """Seed of the `layer`-th random layer of a trial (dropout, say)."""
    return _key(seed, _Stream.LAYERS, layer)


def batch_order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """The order in which a trial visits the training rows in one of its epochs: int32 of shape [rows]."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _Stream.ORDER, epoch])))
    return generator.permutation(rows).astype(np.int32)
