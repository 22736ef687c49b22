"""What a training step took is measured once for a model and a machine, and a bad memory costs nothing but that."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from pydantic import JsonValue

from klsearch import SearchedDropout
from klsearch.search.storage.place import known_place
from klsearch.search.storage.records import stored_layout
from klsearch.search.training import slots, step_times
from klsearch.search.training.models import build_network
from klsearch.search.training.step_times import StepTimes, circumstances
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.networks.convolutional import conv_network
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.own.adoption import adopt
from klsearch.vae.networks.own.pairs import find_pair

if TYPE_CHECKING:
    from tests.search.conftest import Called, Workshop

SECONDS = {1: 0.4, 2: 0.3, 4: 0.25}
DEEP = "[" * 50_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, which is not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KLSEARCH_CACHE", str(folder))
    return folder


def memory(said: list[str], **changes: Any) -> StepTimes:
    known: dict[str, JsonValue] = {"batch size": 128, "rows": [8, 8]}
    return StepTimes(known | changes, say=said.append)


def only_file(cache: Path) -> Path:
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    return file


def test_what_is_kept_is_recalled_to_the_last_bit_where_all_else_is_the_same() -> None:
    said: list[str] = []
    memory(said).keep([1, 2, 4], SECONDS)
    assert memory(said).recall([1, 2, 4]) == SECONDS
    assert memory(said, rows=[8, 9]).recall([1, 2, 4]) is None
    assert said == []


def test_numbers_of_members_that_were_not_measured_are_not_made_up() -> None:
    """A smaller budget's study looks at fewer of them; a larger one's has to measure."""
    memory([]).keep([1, 2, 4], SECONDS)
    assert memory([]).recall([1, 2]) == {1: 0.4, 2: 0.3}
    assert memory([]).recall([1, 2, 4, 8]) is None


def test_numbers_left_out_beyond_a_long_step_need_not_be_measured_again() -> None:
    memory([]).keep([1, 2, 4, 8], {1: 0.4})
    assert memory([]).recall([1, 2, 4]) == {1: 0.4}


SECONDS_NOT_OURS: list[Any] = [
    {}, [], {"1": "fast"}, {"1": 0}, {"1": -1.0}, {"1": 1e300}, {"1": None}, {"1": float("nan")}, {"0": 1.0},
    {"1e3": 1.0}, {"99999999999999": 1.0}, {"2": 0.3}, {"1": 0.4, "8": 0.1},
]  # fmt: skip
NOT_OURS: list[dict[str, Any]] = [
    {"format": 2},
    {"more": 1},
    {"circumstances": {"batch size": 64}},
    *({"seconds": seconds} for seconds in SECONDS_NOT_OURS),
    *({"candidates": candidates} for candidates in ([], "124", [4, 2, 1], [1, 1], [-1], list(range(1, 1000)))),
]


@pytest.mark.parametrize("damage", ["{", "", DEEP, "[1, 2]", *NOT_OURS], ids=lambda damage: str(damage)[:40])
def test_a_damaged_file_is_told_of_in_one_line_and_replaced(cache: Path, damage: str | dict[str, Any]) -> None:
    memory([]).keep([1, 2, 4], SECONDS)
    file, said = only_file(cache), list[str]()
    noted = json.loads(file.read_text())
    file.write_text(damage if isinstance(damage, str) else json.dumps(noted | damage))
    again = memory(said)
    assert again.recall([1, 2, 4]) is None
    assert len(said) == 1 and said[0].startswith(f"warning: {file} is damaged (") and "\n" not in said[0]
    again.keep([1, 2, 4], SECONDS)
    assert memory(said).recall([1, 2, 4]) == SECONDS
    assert len(said) == 1


def test_bytes_that_are_no_text_and_files_beyond_any_size_are_damaged_too(cache: Path) -> None:
    memory([]).keep([1, 2, 4], SECONDS)
    file = only_file(cache)
    for content in (b"\xff\x00\xfe", b" " * 10_000_000 + file.read_bytes()):
        file.write_bytes(content)
        said: list[str] = []
        assert memory(said).recall([1]) is None
        assert len(said) == 1


def test_a_cache_that_is_no_folder_costs_one_line(cache: Path) -> None:
    cache.write_text("")
    said: list[str] = []
    used = memory(said)
    assert used.recall([1]) is None
    used.keep([1], {1: 0.1})
    assert said == [f"warning: what earlier studies measured cannot be read ({said[0].split('(')[1][:-2]})."]
    assert str(cache) in said[0]


def test_a_pipe_is_not_waited_for(cache: Path) -> None:
    memory([]).keep([1], {1: 0.1})
    file, said = only_file(cache), list[str]()
    file.unlink()
    os.mkfifo(file)
    assert memory(said).recall([1]) is None
    assert len(said) == 1


def own_network(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
    """Models inside models, of both kinds."""
    inputs = keras.Input(shape)
    h = keras.Sequential([keras.layers.Dense(8), SearchedDropout(), keras.layers.Dense(6)])(inputs)
    heads = [keras.layers.Dense(latent_dim)(h) for _ in range(2)]
    decoder = keras.Sequential([keras.Input((latent_dim,)), keras.layers.Dense(shape[0])])
    return keras.Model(inputs, heads), decoder


NETWORKS: dict[str, Callable[..., Network]] = {
    "dense": lambda units=8: dense_network((6,), 2, hidden=(units,)),
    "conv": lambda units=8: conv_network((8, 8, 1), 2, filters=(units,), hidden=(8,)),
    "own": lambda units=2: adopt(find_pair(own_network, (6,), units, {}), np.ones((9, 6), np.float32), units),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_is_known_again_when_it_is_built_again(workshop: "Workshop", kind: str) -> None:
    def known(network: Network) -> Any:
        return circumstances(network, workshop.definition, threads=2, processes=1)

    first, again, other = NETWORKS[kind](), NETWORKS[kind](), NETWORKS[kind](4)
    assert known(first) == known(again)
    assert known(first)["network"] != known(other)["network"]


def test_layers_of_the_user_s_own_are_known_by_their_code(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = "import keras\nclass Twice(keras.layers.Layer):\n    def call(self, x):\n        return x + x\n"
    (tmp_path / "own_layers.py").write_text(code)
    from own_layers import Twice  # type: ignore[import-not-found]

    def known() -> Any:
        inputs = keras.Input((6,))
        h = Twice()(inputs)
        encoder = keras.Model(inputs, [keras.layers.Dense(2)(h) for _ in range(2)])
        decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
        return circumstances(Network(encoder=encoder, decoder=decoder), workshop.definition, threads=2, processes=1)

    before = known()
    assert known() == before
    (tmp_path / "own_layers.py").write_text(code.replace("x + x", "2 * x"))
    assert known()["own code"] != before["own code"]


def test_whatever_changes_a_step_s_time_is_another_circumstance(
    workshop: "Workshop", monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_network(workshop.definition, workshop.dataset, Path())

    def known(
        definition: StudyDefinition = workshop.definition, threads: int = 2, processes: int = 1, xla: bool = False
    ) -> Any:
        return circumstances(network, definition, threads=threads, processes=processes, xla=xla)

    def changed(old: str, new: str) -> StudyDefinition:
        from tests.search.conftest import TINY

        assert old in TINY
        return parse_definition(TINY.replace(old, new), "tiny.toml")

    before = known()
    others = [
        known(changed("batch_size = 32", "batch_size = 16")),
        known(changed("epochs = 12", 'epochs = 12\nprecision = "mixed_bfloat16"')),
        known(changed("epochs = 12", "epochs = 12\nclipnorm = 1.0")),
        known(changed("latent_dim = 3", 'latent_dim = 3\nreconstruction_reduction = "mean"')),
        known(threads=1),
        known(processes=2),
        known(xla=True),
        known(changed("epochs = 12", "epochs = 12\ndeterministic = false")),
    ]
    for name, value in (
        ("processor_name", "another"), ("usable_cores", 77), ("total_memory", 1 << 50), ("version", "2.99"),
        ("card_names", ["NVIDIA H200"]),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(step_times, name, lambda *_, value=value: value)
            others.append(known())
    assert known() == before, "and nothing else is"
    assert before not in others
    assert known(changed("trials = 24", "trials = 48")) == before


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The numbers of members of each measurement, which takes no time and finds four to be best."""
    calls: list[list[int]] = []

    def measure(
        network: Network, rows: Any, objective: Any, candidates: list[int], *, shards: int, xla: bool
    ) -> dict[int, float]:
        assert not xla, "which is for cards"
        calls.append(list(candidates))
        return {count: 1e-3 * (1.0 if count == 4 // shards else 2.0) for count in candidates}

    monkeypatch.setattr(slots, "seconds_per_member", measure)
    return calls


@pytest.mark.slow("runs whole studies")
def test_a_second_study_of_the_same_model_measures_nothing(
    klsearch: Callable[..., "Called"], definition_file: Path, measured: list[list[int]]
) -> None:
    """Nor does it find another number of members; another batch size does, and who asks for it."""

    def run(name: str, *options: object) -> tuple[str, Any]:
        out = definition_file.parent / name
        called = klsearch("run", definition_file, "--out", out, "--no-confirm", "--timeout", "0s", *options)
        assert called.code == 0, called.err
        line = "\n".join(line for line in called.err.splitlines() if " at a time, " in line)
        return line, stored_layout(known_place(str(out), storage=None, study=None))

    first, layout = run("first")
    second, same = run("second")
    assert len(measured) == 1
    assert "remembered" not in first
    assert ", remembered from an earlier study" in second
    assert same == layout

    anew, _ = run("anew", "--slots", "measure")
    assert len(measured) == 2
    assert "remembered" not in anew
    assert run("anew", "--slots", "measure")[0] == "", "a study that is there keeps its own"
    definition_file.write_text(definition_file.read_text().replace("batch_size = 32", "batch_size = 16"))
    run("smaller")
    assert len(measured) == 3


@pytest.mark.slow("runs whole studies")
def test_a_cache_that_cannot_be_used_makes_the_same_study_with_one_line(
    klsearch: Callable[..., "Called"], definition_file: Path, measured: list[list[int]], cache: Path
) -> None:
    def run(name: str) -> tuple[list[str], list[float]]:
        out = definition_file.parent / name
        called = klsearch("run", definition_file, "--out", out, "--no-confirm", "--trials", 4)
        assert called.code == 0, called.err
        lines = [line for line in called.err.splitlines() if line.startswith("warning: ") and str(cache) in line]
        return lines, [trial["score"] for trial in klsearch("trials", out, "--json").document["trials"]]

    said, scores = run("first")
    assert said == []
    only_file(cache).write_text("{}")
    damaged, same = run("damaged")
    assert (len(damaged), same) == (1, scores)
    shutil.rmtree(cache)
    cache.write_text("")
    unusable, same = run("unusable")
    assert (len(unusable), same) == (1, scores)
    assert len(measured) == 3
