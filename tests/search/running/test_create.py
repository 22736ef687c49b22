"""A study in its storage: made where there is none, else checked to be the one that is asked for."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.storages import BaseStorage

from klsearch.search.running.create import StudyRequest, begin_study
from klsearch.search.running.options import RunOptions
from klsearch.search.running.versions import provenance
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Run
from klsearch.search.training.models import build_network
from klsearch.studies.definitions.catalog import load_definition
from klsearch.studies.definitions.data import load_data
from klsearch.studies.errors import StudyConflict
from klsearch.vae.host.machine import processor_name
from klsearch.vae.hyperparameters import BEFORE
from klsearch.vae.training.devices.cards import device_words

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Told

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
    assert len(entries) == 2 * 3, "the runs of the old settings are out; the new ones failed three times and left"
    earlier = klsearch("best", finished_copy.folder, "--json").document
    assert earlier == best
    assert "kl_weight = 0.3" in (folder / "study.toml").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path / "run", url=f"sqlite:///{tmp_path / 'shared.db'}", name="tiny", embedded=False)


@pytest.fixture
def storage(place: Place) -> Iterator[BaseStorage]:
    with open_storage(place.url, create=True) as storage:
        yield storage


def request_of(definition_file: Path, place: Place, told: "Told", **options: Any) -> StudyRequest:
    """The study of a file as `klsearch run --slots 4` asks for it."""
    loaded = load_definition(str(definition_file))
    dataset = load_data(loaded.definition, loaded.folder)
    return StudyRequest(
        loaded=loaded,
        dataset=dataset,
        network=build_network(loaded.definition, dataset, loaded.folder),
        place=place,
        options=RunOptions(**{"slots": 4, **options}),
        progress=told,
        stop=lambda: False,
    )


def test_a_new_study_holds_what_was_asked_for_and_where_it_began(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told"
) -> None:
    study = begin_study(storage, request_of(definition_file, place, told))
    facts, rows = study.facts, definition_file.with_name("rows.csv")
    assert (facts.layout.slots, facts.scoring, facts.provenance) == (
        4,
        {"measures": 1, "score": 1},
        provenance(device_words()),
    )
    assert (facts.folder, facts.data.rows) == (str(rows.parent), {"train": 128, "validation": 36, "test": 36})
    assert (facts.reference, facts.winner, facts.test_looks, facts.warm_start) == (None, None, (), "")
    assert study.definition == definition_file.read_text().replace('"rows.csv"', f'"{rows}"')
    assert (place.folder / "study.toml").read_text() == study.definition
    assert study.rows() == []
    assert told.lines == [], "nothing was measured or trained"


def test_whoever_comes_later_finds_the_study_as_it_is(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told"
) -> None:
    first = begin_study(storage, request_of(definition_file, place, told)).facts
    for slots in (4, None):  # None: not measured again
        again = begin_study(
            storage, request_of(definition_file, replace(place, folder=place.folder / "2"), told, slots=slots)
        )
        assert again.facts == first
    assert told.lines == []


def test_a_study_that_goes_on_elsewhere_names_where_and_the_versions_that_it_had(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told", tmp_path: Path
) -> None:
    study = begin_study(storage, request_of(definition_file, place, told))
    study.change_facts(provenance={**study.facts.provenance, "keras": "3.0"})
    shutil.copytree(definition_file.parent, tmp_path / "there", ignore=shutil.ignore_patterns("there", "*.db", "run"))
    begin_study(storage, request_of(tmp_path / "there" / "tiny.toml", place, told))
    assert study.facts.folder == str(tmp_path / "there")
    assert study.facts.provenance == {**provenance(device_words()), "keras": f"{version('keras')} (earlier 3.0)"}
    assert str(tmp_path / "there" / "rows.csv") in study.definition


def test_a_study_that_goes_on_on_another_device_says_so_once_it_has_trials(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told"
) -> None:
    study = begin_study(storage, request_of(definition_file, place, told))
    study.change_facts(provenance={**study.facts.provenance, "trained on": "NVIDIA H200, deterministic"})
    begin_study(storage, request_of(definition_file, place, told))
    assert told.lines == []
    assert study.facts.provenance["trained on"] == "the processor (earlier NVIDIA H200, deterministic)"
    study.change_facts(provenance={**study.facts.provenance, "trained on": "NVIDIA H200, deterministic"})
    study.create_row(Run(hyperparameters=BEFORE, seed=5, label="search"), this_process())
    for _ in range(2):
        begin_study(storage, request_of(definition_file, place, told))
    assert told.lines == [
        "warning: this study was trained on NVIDIA H200, deterministic so far, and goes on on the processor, where the "
        "same settings and seed give other bits, within the noise of seeds."
    ]


def test_a_study_that_goes_on_under_other_versions_says_so_once(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told"
) -> None:
    study = begin_study(storage, request_of(definition_file, place, told))
    study.change_facts(provenance={**study.facts.provenance, "keras": "3.0", "processor": "Z80", "pandas": "1.0"})
    study.create_row(Run(hyperparameters=BEFORE, seed=5, label="search"), this_process())
    for _ in range(2):
        begin_study(storage, request_of(definition_file, place, told))
    assert told.lines == [
        f"warning: this study goes on with keras {version('keras')} (before: 3.0), processor {processor_name()} "
        "(before: Z80), where the same settings and seed may give other bits, within the noise of seeds."
    ]


def test_every_difference_is_listed_with_the_way_out_of_a_shared_storage(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told", edit: Edit
) -> None:
    study = begin_study(storage, request_of(definition_file, place, told))
    before = study.facts, study.definition
    edit(definition_file, "latent_dim = 3", "latent_dim = 4")
    asked = request_of(definition_file, place, told, slots=2, warm_start=place)
    with pytest.raises(StudyConflict) as refused:
        begin_study(storage, replace(asked, dataset=replace(asked.dataset, fingerprint="of others")))
    assert str(refused.value) == (
        f"study 'tiny' in {place.url} was made under another definition (model.latent_dim: 3, now 4; data: the rows "
        "are not those that the study was trained on; slots: 4, now 2; it exists already, and began without "
        "--warm-start). Give --study another name for a new study, or run the old definition to go on."
    )
    assert (study.facts, study.definition) == before


def test_a_study_of_another_score_is_refused_even_under_its_own_definition(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told"
) -> None:
    begin_study(storage, request_of(definition_file, place, told)).change_facts(scoring={"measures": 1, "score": 0})
    said = r"scored otherwise than this klsearch scores \(score: 0, now 1\).*Give --study another name"
    with pytest.raises(StudyConflict, match=said):
        begin_study(storage, request_of(definition_file, place, told))


def test_a_study_of_an_earlier_release_goes_on_with_its_baselines_as_they_were_and_says_so(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told"
) -> None:
    asked = request_of(definition_file, place, told)
    study = begin_study(storage, asked)

    def annealing() -> dict[str, int]:
        settings = study.facts.settle(asked.definition).baseline_hyperparameters()
        return {name: one.annealing_epochs for name, one in settings.items()}

    assert annealing() == {"before": 5, "after": 10, "mine": 0}
    study.change_facts(recipe_fills=True)
    begin_study(storage, asked)
    assert annealing() == {"before": 5, "after": 10, "mine": 5}
    assert told.lines == [
        "warning: this study began when baselines took what they leave out from 'before', and goes on so: mine. In a "
        "new study it is off."
    ]


@pytest.mark.parametrize("trials", [0, 1])
def test_changed_gates_are_said_once_there_are_trials_that_were_judged_by_the_old_ones(
    definition_file: Path, place: Place, storage: BaseStorage, told: "Told", edit: Edit, trials: int
) -> None:
    study = begin_study(storage, request_of(definition_file, place, told))
    for _ in range(trials):
        study.create_row(Run(hyperparameters=BEFORE, seed=1, label="search"), this_process())
    edit(definition_file, "max_kl_slope = 0.2", "max_kl_slope = 0.1")
    begin_study(storage, request_of(definition_file, place, told))
    assert len([line for line in told.lines if line.startswith("warning: [gates] has changed.")]) == trials
    assert "max_kl_slope = 0.1" in study.definition
    told.lines.clear()
    begin_study(storage, request_of(definition_file, place, told))
    assert told.lines == []
