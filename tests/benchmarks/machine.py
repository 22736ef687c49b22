"""What the machine can do at best: the rate of large matrix products. Prints GFLOP/s.

python -m tests.benchmarks.machine [SIZE [float32|bfloat16]]
"""

import sys
import time

import tensorflow as tf

_SIZE, _ROUNDS = 2048, 12


def main(size: int = _SIZE, precision: str = "float32") -> None:
    """The best of some rounds, each of one product and waiting for it."""
    values = tf.cast(tf.random.normal([size, size]), precision)
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        tf.reduce_max(tf.matmul(values, values)).numpy()  # a card's whole product need not come here
        best = min(best, time.perf_counter() - began)
    print(2 * size**3 / best / 1e9)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else _SIZE, *sys.argv[2:3])
