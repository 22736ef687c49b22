"""The band that a study takes from a reference."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.layout import Layout
from klsearch.search.running.auto_band import find_reference
from klsearch.search.training.models import build_network
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import KlsearchError, UsageError
from klsearch.studies.record import Reference

if TYPE_CHECKING:
    from tests.search.conftest import Called, Workshop


@pytest.mark.slow("trains the reference")
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


@pytest.mark.slow("trains the reference")
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


def auto(tmp_path: Path, write: Callable[..., Path], *changes: tuple[str, str]) -> StudyDefinition:
    """The small study with a band of its own, and so many other changes."""
    toml = write(tmp_path, ("trials = 24", 'trials = 24\nkl_band = "auto"'), *changes).read_text()
    return parse_definition(toml, "tiny.toml")


def reference_of(workshop: "Workshop", definition: StudyDefinition, layout: Layout, said: list[str]) -> Reference:
    network = build_network(definition, workshop.dataset, Path())
    return find_reference(definition, network, workshop.dataset, layout, say=said.append, stop=lambda: False)


@pytest.mark.slow("trains the reference twice")
def test_a_band_is_half_to_one_and_a_half_times_the_kl_in_its_own_unit_and_three_digits(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    """Over 3 latents, and with one slot for the two seeds, one after the other."""
    said: list[str] = []
    mean = reference_of(workshop, auto(tmp_path, write), Layout(4, 2), said)
    to_sum = ("latent_dim = 3", 'latent_dim = 3\nreconstruction_reduction = "sum"')
    summed_definition = auto(tmp_path, write, ('kl_band = "auto"', 'kl_band = "auto"\nkl_reduction = "sum"'), to_sum)
    summed = reference_of(workshop, summed_definition, Layout(1, 1), said)
    assert summed.kl == pytest.approx(mean.kl, rel=1e-3), "a σ-VAE has no weight that a reduction could change"
    for found, unit in ((mean, 1), (summed, 3)):
        assert (found.method, found.seeds) == ("sigma", 2)
        assert found.kl_band == tuple(float(f"{unit * share * found.kl:.3g}") for share in (0.5, 1.5))
    assert [line.split(", half")[0] for line in said[1::2]] == [
        "KL band: {:g} to {:g} nats per latent".format(*mean.kl_band),
        "KL band: {:g} to {:g} nats".format(*summed.kl_band),
    ]


@pytest.mark.slow("trains the reference")
def test_a_likelihood_without_a_variance_is_trained_with_the_plain_bound(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    definition = auto(tmp_path, write, ("latent_dim = 3", 'latent_dim = 3\nlikelihood = "bernoulli"'))
    found = reference_of(workshop, definition, Layout(2, 2), [])
    assert found.method == "beta1"


@pytest.mark.slow("compiles")
def test_whoever_is_asked_to_stop_while_the_reference_trains_has_no_band(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    definition = auto(tmp_path, write)
    network = build_network(definition, workshop.dataset, Path())
    with pytest.raises(KlsearchError, match="so there is no study yet; give it more time, or a kl_band of two"):
        find_reference(
            definition,
            network,
            workshop.dataset,
            Layout(4, 2),
            say=lambda line: None,
            stop=iter([False, True]).__next__,
        )


@pytest.mark.slow("trains the reference")
def test_a_reference_whose_kl_never_settles_is_refused_with_its_slope_and_a_way_out(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    definition = auto(tmp_path, write, ("max_kl_slope = 0.2", "max_kl_slope = 1e-9"))
    with pytest.raises(
        UsageError, match=r"still moves after 240 epochs, by .* per epoch .*; give kl_band = \[low, high\]"
    ):
        reference_of(workshop, definition, Layout(2, 2), [])
