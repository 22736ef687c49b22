"""A study in its storage: made where there is none, else checked to be the one that is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

Klsearch = Callable[..., "Called"]
Edit = Callable[[Path, str, str], None]
Contents = Callable[[Path], dict[str, str]]


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("high = 10.0", "high = 20.0", "space.kl_weight.high: 10.0, now 20.0"),
        ("learning_rate = 1e-2", "learning_rate = 1e-3", "training.learning_rate: 0.01, now 0.001"),
        ("latent_dim = 3", "latent_dim = 4", "model.latent_dim: 3, now 4"),
        ('name = "tiny"', 'name = "tiny"\nseed = 5', "study.seed: 0, now 5"),
        ('name = "tiny"', 'name = "tiny"\nkl_band = [0.0, 4.0]', "study.kl_band: [0.0, 5.0], now [0.0, 4.0]"),
        ('source = "rows.csv"', 'source = "rows.csv"\nscaling = "none"', "data.scaling: 'auto', now 'none'"),
        ("window = 2", "window = 3", "gates.window: 2, now 3"),
    ],
)
def test_another_definition_of_a_study_is_refused_with_the_difference(
    finished_copy: "Finished", klsearch: Klsearch, old: str, new: str, difference: str, edit: Edit, contents: Contents
) -> None:
    before = contents(finished_copy.folder)
    edit(finished_copy.definition_file, old, new)
    called = klsearch("run", finished_copy.definition_file, "--out", finished_copy.folder, "--quiet")
    assert (called.code, called.out) == (2, "")
    (line,) = called.err.splitlines()
    assert difference in line
    assert "Give --out another folder" in line
    assert contents(finished_copy.folder) == before


def test_other_rows_under_the_same_definition_are_refused(
    finished_copy: "Finished", klsearch: Klsearch, contents: Contents
) -> None:
    before = contents(finished_copy.folder)
    rows = finished_copy.definition_file.parent / "rows.csv"
    values = np.loadtxt(rows, delimiter=",", skiprows=1)
    np.savetxt(rows, values[::-1], delimiter=",", header="a,b,c,d,e,f", comments="")
    called = klsearch("run", finished_copy.definition_file, "--out", finished_copy.folder, "--quiet")
    assert called.code == 2
    assert "data: the rows are not those that the study was trained on" in called.err
    assert contents(finished_copy.folder) == before


@pytest.mark.parametrize("command", ["run", "resume"])
def test_another_number_of_slots_is_refused(
    finished_copy: "Finished", klsearch: Klsearch, command: str, contents: Contents
) -> None:
    before = contents(finished_copy.folder)
    place = (
        [finished_copy.definition_file, "--out", finished_copy.folder] if command == "run" else [finished_copy.folder]
    )
    called = klsearch(command, *place, "--slots", 4, "--quiet")
    assert called.code == 2
    assert "slots: 8, now 4" in called.err
    assert contents(finished_copy.folder) == before


def test_gates_baselines_and_budget_of_a_study_may_change(
    finished_copy: "Finished", klsearch: Klsearch, edit: Edit
) -> None:
    """No trial settles so well as is asked for now, so the verdict is *not stable*."""
    folder = finished_copy.folder
    before = klsearch("trials", folder, "--json").document["trials"]
    edit(finished_copy.definition_file, "max_kl_slope = 0.2", "max_kl_slope = 1e-9")
    edit(finished_copy.definition_file, "kl_weight = 0.1", "kl_weight = 0.3")
    edit(finished_copy.definition_file, "trials = 24", "trials = 28")
    called = klsearch("run", finished_copy.definition_file, "--out", folder, "--json", "--require-stable")
    assert called.code == 3
    assert "warning: [gates] has changed. What is shown of earlier trials is judged anew" in called.err
    best = called.document
    assert (best["verdict"], best["feasible"], best["passed"]) == ("not stable", False, 0)
    after = klsearch("trials", folder, "--json").document["trials"]
    assert len(after) == 28
    for old, new in zip(before, after, strict=False):
        same = set(old) - {"gates", "feasible"}
        assert {name: old[name] for name in same} == {name: new[name] for name in same}
        assert not new["gates"]["settled"], "every trial is judged by the gates as they are now"
    entries = [entry for entry in best["confirmation"] if entry["name"] == "mine"]
    assert len(entries) == 16, "the runs of the old settings are out, those of the new ones are in"
    earlier = klsearch("best", finished_copy.folder, "--json").document
    assert earlier == best
    assert "kl_weight = 0.3" in (folder / "study.toml").read_text()
