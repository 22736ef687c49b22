"""The band that a study takes from a reference."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.layout import Layout
from klsearch.search.running.auto_band import find_reference
from klsearch.search.training.models import build_network
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import KlsearchError

if TYPE_CHECKING:
    from tests.search.conftest import Called, Workshop


def test_a_reference_that_diverges_gives_no_band(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    toml = write(
        tmp_path, ("trials = 24", 'trials = 24\nkl_band = "auto"'), ("learning_rate = 1e-2", "learning_rate = 1e9")
    ).read_text()
    definition = parse_definition(toml, "tiny.toml")
    network = build_network(definition, workshop.dataset, tmp_path)
    said: list[str] = []
    with pytest.raises(KlsearchError, match="the reference training diverged or collapsed"):
        find_reference(definition, network, workshop.dataset, Layout(4, 2), say=said.append, stop=lambda: False)
    assert said == ["Training the reference for the KL band (2 seeds)…"]


def test_a_time_limit_holds_while_the_reference_trains(
    klsearch: Callable[..., "Called"], tmp_path: Path, write: Callable[..., Path]
) -> None:
    definition = write(tmp_path, ("trials = 24", 'trials = 24\nkl_band = "auto"'), ("epochs = 12", "epochs = 100000"))
    called = klsearch("run", definition, "--out", tmp_path / "run", "--slots", 4, "--timeout", "1s", "--quiet")
    assert (called.code, called.err) == (
        1,
        "klsearch: stopped before the reference for the KL band was trained, so there is no study yet; give it more "
        "time, or a kl_band of two numbers, such as [0.0, 5.0].\n",
    )
    assert klsearch("status", tmp_path / "run").code != 0
