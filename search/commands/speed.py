"""How fast this machine calculates."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_PRODUCT = 1024  # rows and columns: large enough that all cores are busy
_NUMBERS = 4_000_000  # more than caches hold
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a machine calculates in single precision, with all cores.

    Attributes:
        multiply_adds: of large matrix products, per second.
        numbers: read and written in the elementwise product of two large arrays, per second.
    """

    multiply_adds: float
    numbers: float


def measured_speed() -> Speed:
    """This machine's speed now, as NumPy finds it: the best of a few rounds, a fifth of a second in all."""
    matrix, vector = np.ones((_PRODUCT, _PRODUCT), np.float32), np.ones(_NUMBERS, np.float32)
    product, numbers = np.empty_like(matrix), np.empty_like(vector)
    return Speed(
        multiply_adds=_PRODUCT**3 / _best(lambda: np.matmul(matrix, matrix, out=product)),
        numbers=_NUMBERS / _best(lambda: np.multiply(vector, vector, out=numbers)),
    )


def _best(calculate: Callable[[], object]) -> float:
    """The least seconds that a calculation took."""
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        calculate()
        times.append(time.perf_counter() - began)
    return min(times)
