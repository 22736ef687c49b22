"""What the machine can do at best: the rate of large single-precision matrix products. Prints GFLOP/s."""

import time

import tensorflow as tf

_SIZE, _ROUNDS = 2048, 12


def main() -> None:
    """The best of some rounds."""
    values = tf.random.normal([_SIZE, _SIZE])
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        tf.matmul(values, values).numpy()
        best = min(best, time.perf_counter() - began)
    print(2 * _SIZE**3 / best / 1e9)


if __name__ == "__main__":
    main()
