"""The time of a step per member: told by a clock of the test's own, over steps that are really taken."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.layers import SearchedDropout
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.networks.convolutional import conv_network
from klsearch.vae.networks.network import Network, computing_in, dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.slot_timing import seconds_per_member

pytestmark = pytest.mark.slow("compiles steps of many sizes")

ROWS = np.random.default_rng(0).random((16, 6, 5), np.float32)
Durations = Callable[[Callable[[int], float]], None]


@pytest.fixture(scope="module")
def network() -> Network:
    return dense_network((6, 5), 2, hidden=[4])


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Durations:
    """A function that sets how long every run takes, by its place among all that are timed, from 0."""

    def set_clock(duration: Callable[[int], float]) -> None:
        def readings() -> Iterator[float]:
            now, place = 0.0, 0
            while True:
                yield now
                now += duration(place)
                yield now
                place += 1

        read = readings()
        clock = SimpleNamespace(perf_counter=lambda: next(read))
        monkeypatch.setattr("klsearch.vae.training.slot_timing.time", clock)

    return set_clock


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_s_time_is_divided_among_the_members_of_all_shards(
    network: Network, take: Durations, shards: int
) -> None:
    take(lambda place: 0.25)
    found = seconds_per_member(network, ROWS, Objective(), [1, 2, 4], shards=shards)
    assert found == {1: 0.25 / shards, 2: 0.125 / shards, 4: 0.0625 / shards}


def test_the_least_of_several_rounds_counts_each_number_by_itself(network: Network, take: Durations) -> None:
    """Two numbers: the even places are one member's runs, the odd ones two members'."""
    take(lambda place: {6: 0.125, 9: 0.0625}.get(place, 0.25))
    assert seconds_per_member(network, ROWS, Objective(), [1, 2], shards=1) == {1: 0.125, 2: 0.03125}


def test_beyond_a_long_step_no_more_members_are_timed(network: Network, take: Durations) -> None:
    take(lambda place: 0.5 if place == 1 else 0.25)
    assert seconds_per_member(network, ROWS, Objective(), [1, 2, 4, 8], shards=1) == {1: 0.25, 2: 0.125}


def user_network() -> Network:
    """Moving statistics, a rate that is a variable, and an output of another rank than the latents."""
    rows, z = keras.Input((6, 5)), keras.Input((2,))
    h = SearchedDropout()(keras.layers.BatchNormalization()(keras.layers.Flatten()(rows)))
    decoder = keras.layers.Reshape((6, 5))(keras.layers.Dense(30)(z))
    heads = [keras.layers.Dense(2)(h), keras.layers.Dense(2)(h)]
    return Network(encoder=keras.Model(rows, heads), decoder=keras.Model(z, decoder))


def mixed_network() -> Network:
    with computing_in("mixed_bfloat16"):
        return dense_network((6, 5), 2, hidden=[4])


@pytest.mark.parametrize(
    "make",
    [user_network, mixed_network, lambda: conv_network((6, 5), 2, filters=[3], hidden=[4])],
    ids=["user's own", "mixed precision", "conv"],
)
def test_any_network_can_be_timed_and_is_left_as_it_was(make: Callable[[], Network]) -> None:
    network = make()
    variables = network.encoder.variables + network.decoder.variables
    before = [variable.numpy().copy() for variable in variables]
    found = seconds_per_member(network, ROWS, Objective(likelihood=BERNOULLI), [1, 2], shards=2)
    assert list(found) == [1, 2]
    assert all(0 < seconds < np.inf for seconds in found.values())
    for variable, values in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)


@pytest.mark.parametrize("candidates", [[1, 2, 4], [2, 4]])
def test_steps_that_xla_compiles_are_timed_like_others(network: Network, candidates: list[int]) -> None:
    found = seconds_per_member(network, ROWS, Objective(), candidates, shards=1, xla=True)
    assert list(found) == candidates
    assert all(0 < seconds < 60 for seconds in found.values())


class Greedy(keras.layers.Layer):
    """A layer for which memory ends once, after so many calls; members are called one by one."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def call(self, rows: Any) -> Any:
        def take(values: np.ndarray) -> np.ndarray:
            self.left -= 1
            if self.left == -1:
                raise MemoryError("more than there is")
            return values

        with tf.control_dependencies([tf.numpy_function(take, [rows], rows.dtype)]):
            return tf.identity(rows)


def greedy_network(calls: int) -> Network:
    inputs, latents = keras.Input((6, 5)), keras.Input((2,))
    h = Greedy(calls)(keras.layers.Dense(8)(keras.layers.Flatten()(inputs)))
    encoder = keras.Model(inputs, [keras.layers.Dense(2, name=name)(h) for name in ("z_mean", "z_log_var")])
    decoder = keras.Model(latents, keras.layers.Reshape((6, 5))(keras.layers.Dense(30)(latents)))
    return Network(encoder=encoder, decoder=decoder)


def test_numbers_of_members_for_which_there_is_no_memory_are_left_out() -> None:
    """Each number takes two steps before the rounds: 2 calls of one member, 4 of two, 8 of four; then rounds of 3."""
    found = seconds_per_member(greedy_network(9), ROWS, Objective(), [1, 2, 4], shards=1)
    assert list(found) == [1, 2]


def test_where_there_is_no_memory_for_the_first_number_there_is_nothing_to_time() -> None:
    with pytest.raises(tf.errors.ResourceExhaustedError):
        seconds_per_member(greedy_network(1), ROWS, Objective(), [2, 4], shards=1)
