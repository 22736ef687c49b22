"""How many members to train at a time."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.search.layout import Layout
from klsearch.search.training import slots
from klsearch.search.training.models import build_network
from klsearch.search.training.slots import auto_layout, best_layout, count_fitting
from klsearch.search.training.step_times import StepTimes
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.networks.network import Network, dense_network

if TYPE_CHECKING:
    from tests.search.conftest import Workshop


Memories = Callable[[bool], StepTimes]


@pytest.fixture
def no_memories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Memories:
    """Of nothing."""
    monkeypatch.setenv("KLSEARCH_CACHE", str(tmp_path))
    return lambda xla: StepTimes({"xla": xla}, say=print)


def test_members_that_gain_from_company_are_trained_together() -> None:
    assert best_layout({1: 4.0, 2: 2.0, 4: 1.0, 8: 0.5}, blocks=[64], most=16, shards=2) == Layout(16, 8)


def test_members_that_gain_nothing_from_company_are_alone() -> None:
    assert best_layout({1: 1.0, 2: 1.0, 4: 1.0}, blocks=[64], most=8, shards=2) == Layout(2, 1)
    assert best_layout({1: 1.0, 2: 0.98, 4: 0.98}, blocks=[64], most=8, shards=2) == Layout(2, 1), "2 % is no gain"


def test_empty_slots_of_the_last_wave_are_reckoned_with() -> None:
    # 20 trials: 8 slots take 3 waves of 8, 24 shares; 10 slots 2 waves of 10, 20 shares.
    assert best_layout({1: 9.0, 2: 1.0, 4: 1.0, 8: 1.0}, blocks=[20], most=10, shards=1) == Layout(2, 2)
    assert best_layout({1: 9.0, 2: 4.0, 4: 2.0, 8: 1.0}, blocks=[20], most=10, shards=1) == Layout(10, 10)


@pytest.mark.parametrize(("gigabytes", "members"), [(2, 599), (24, 7191), (0, 2)])
def test_members_take_a_quarter_of_the_memory_that_is_free(gigabytes: int, members: int) -> None:
    """Eight copies of 22 + 22 + 30 weights and of 1,000 rows of 14 + 12 activations, 4 bytes each: 834,368 bytes."""
    network = dense_network((10,), 2, hidden=())
    assert count_fitting(network, 1000, memory=gigabytes * 10**9) == members


@pytest.mark.parametrize(("free", "measured"), [(0, [2]), (2 * 10**9, [2, 4])])
def test_no_more_are_measured_at_a_time_than_fit_into_free_memory(
    workshop: "Workshop",
    no_memories: Memories,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    measured: list[int],
) -> None:
    """Of 24 trials at most six train at a time; of each number of members the line says how long a step takes."""
    monkeypatch.setattr(slots, "free_memory", lambda: free)
    network = build_network(workshop.definition, workshop.dataset, Path())
    said: list[str] = []
    auto_layout(
        network, workshop.dataset, workshop.definition, threads=1, processes=1, memories=no_memories, say=said.append
    )
    assert [int(count) for count in re.findall(r" ms with (\d+)", said[-1])] == measured


def careless(workshop: "Workshop") -> StudyDefinition:
    """The small study, whose trials need not repeat to the bit."""
    training = workshop.definition.training.model_copy(update={"deterministic": False})
    return workshop.definition.model_copy(update={"training": training})


@pytest.mark.parametrize(
    ("plain", "compiled", "xla", "words"),
    [
        (1.0, 0.5, True, r"3 ms with 2, 2 ms with 4 at a time, compiled by XLA \(4 ms without it\)\."),
        (0.5, 1.0, False, r"3 ms with 2, 2 ms with 4 at a time \(4 ms compiled by XLA\)\."),
    ],
)
def test_where_a_card_need_not_repeat_its_bits_steps_are_timed_with_xla_too_and_the_faster_way_is_kept(
    workshop: "Workshop",
    no_memories: Memories,
    monkeypatch: pytest.MonkeyPatch,
    plain: float,
    compiled: float,
    xla: bool,
    words: str,
) -> None:
    """Of 24 trials at most four train at a time. Steps take 3 and 2 ms in the faster way, and twice that otherwise."""
    timed: list[bool] = []

    def measure(*given: Any, xla: bool, **options: Any) -> dict[int, float]:
        timed.append(xla)
        return {count: 4e-3 * (compiled if xla else plain) * factor for count, factor in ((2, 1.5), (4, 1.0))}

    monkeypatch.setattr(slots, "card_memory", lambda: 10**9)
    monkeypatch.setattr(slots, "seconds_per_member", measure)
    network = build_network(careless(workshop), workshop.dataset, Path())
    said: list[str] = []
    found = [
        auto_layout(
            network, workshop.dataset, careless(workshop), threads=1, processes=1, memories=no_memories,
            say=said.append,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert timed == [False, True], "the second time both are remembered"
    assert found == [Layout(4, 4, xla=xla)] * 2
    assert re.search(words, said[1])
    assert "remembered from an earlier study" in said[-1]


@pytest.mark.slow("compiles and measures steps of many sizes")
def test_where_xla_cannot_compile_a_layer_of_the_user_s_own_the_card_does_without(
    workshop: "Workshop", no_memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "card_memory", lambda: 10**9)

    class InPython(keras.layers.Layer):  # type: ignore[misc]
        def call(self, rows: Any) -> Any:
            import tensorflow as tf

            with tf.control_dependencies([tf.numpy_function(lambda values: values, [rows], rows.dtype)]):
                return tf.identity(rows)

    inputs, latents = keras.Input(workshop.dataset.shape), keras.Input((2,))
    h = InPython()(keras.layers.Dense(8)(inputs))
    encoder = keras.Model(inputs, [keras.layers.Dense(2, name=name)(h) for name in ("z_mean", "z_log_var")])
    decoder = keras.Model(latents, keras.layers.Dense(math.prod(workshop.dataset.shape))(latents))
    network, said = Network(encoder=encoder, decoder=decoder), list[str]()
    layout = auto_layout(
        network, workshop.dataset, careless(workshop), threads=1, processes=1, memories=no_memories, say=said.append
    )
    assert not layout.xla
    assert "XLA" not in said[-1]


@pytest.mark.parametrize(("free", "together"), [(10**9, 4), (0, 2)])
def test_on_a_card_its_memory_decides_how_many_fit(
    workshop: "Workshop", no_memories: Memories, monkeypatch: pytest.MonkeyPatch, free: int, together: int
) -> None:
    monkeypatch.setattr(slots, "card_memory", lambda: free)
    monkeypatch.setattr(slots, "free_memory", lambda: 10**9 - free)
    monkeypatch.setattr(slots, "seconds_per_member", lambda *given, **_: {count: 1e-3 / count for count in given[3]})
    network = build_network(workshop.definition, workshop.dataset, Path())
    layout = auto_layout(
        network, workshop.dataset, workshop.definition, threads=1, processes=1, memories=no_memories, say=print
    )
    assert layout == Layout(together, together)


def test_recurrent_models_of_one_s_own_train_each_alone(workshop: "Workshop", no_memories: Memories) -> None:
    inputs, latents = keras.Input(workshop.dataset.shape), keras.Input((2,))
    h = keras.layers.GRU(8)(keras.layers.Reshape((-1, 1))(inputs))
    encoder = keras.Model(inputs, [keras.layers.Dense(2, name=name)(h) for name in ("z_mean", "z_log_var")])
    decoder = keras.Model(latents, keras.layers.Dense(math.prod(workshop.dataset.shape))(latents))
    model = workshop.definition.model.model_copy(update={"kind": "mine:build"})
    said: list[str] = []
    layout = auto_layout(
        Network(encoder=encoder, decoder=decoder),
        workshop.dataset,
        workshop.definition.model_copy(update={"model": model}),
        threads=2,
        processes=1,
        memories=no_memories,
        say=said.append,
    )
    assert layout == Layout(2, 1)
    assert said[-1].endswith("in company their last bits would depend on their places, so each trains alone.")


@pytest.mark.slow("compiles and measures steps of many sizes")
def test_workers_divide_the_machine_s_threads_among_them(workshop: "Workshop", no_memories: Memories) -> None:
    network = build_network(workshop.definition, workshop.dataset, Path())
    said: list[str] = []
    layouts = [
        auto_layout(
            network,
            workshop.dataset,
            workshop.definition,
            threads=2,
            processes=processes,
            memories=no_memories,
            say=said.append,
        )
        for processes in (1, 2)
    ]
    assert [layout.slots // layout.together for layout in layouts] == [2, 1]


def test_the_time_of_a_number_that_was_not_measured_lies_between_those_that_were() -> None:
    """Two of four together: halfway in the logarithm, so 2.5 for each; 4 trials take 4 · 4, 2 · 2 · 2.5 or 4 · 1."""
    assert best_layout({1: 4.0, 4: 1.0}, blocks=[4], most=1, shards=1) == Layout(1, 1)
    assert best_layout({1: 4.0, 4: 1.0}, blocks=[4], most=2, shards=1) == Layout(2, 2)
    assert best_layout({1: 4.0, 4: 1.0}, blocks=[4], most=4, shards=1) == Layout(4, 4)
    # As two take just as long as one, and one wave of three is the next odd number, two at a time cannot gain.
    assert best_layout({1: 1.0, 4: 1.0}, blocks=[3], most=4, shards=1) == Layout(1, 1)


SECONDS = st.floats(min_value=1e-4, max_value=10.0)


@given(
    times=st.dictionaries(st.sampled_from([1, 2, 4, 8, 16]), SECONDS, min_size=1),
    trials=st.integers(1, 500),
    shards=st.integers(1, 8),
    more=st.integers(0, 120),
)
def test_whatever_was_measured_each_thread_has_one_member_or_an_even_number_and_all_fit(
    times: dict[int, float], trials: int, shards: int, more: int
) -> None:
    most = shards + more
    layout = best_layout(times, blocks=[trials], most=most, shards=shards)
    assert layout.slots == layout.together * shards <= most
    assert layout.together == 1 or layout.together % 2 == 0
    slower = {count: 4.0 * seconds for count, seconds in times.items()}
    assert best_layout(slower, blocks=[trials], most=most, shards=shards) == layout, "no machine's speed has a say"
