"""What a study is expected to cost, before anything is trained."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.commands import check
from klsearch.search.commands.check import Estimate, Speed, estimate, examine_own_model, find_card, measure_speed
from klsearch.search.commands.documents import check_document
from klsearch.search.commands.text import check_text
from klsearch.studies.definitions.catalog import template
from klsearch.studies.definitions.data import load_data, load_with_data
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import Baseline
from klsearch.studies.errors import DefinitionError
from klsearch.vae.data.datasets import Dataset, Request, load_dataset
from klsearch.vae.networks.kinds import KINDS
from klsearch.vae.training.devices.driver import InstalledCard

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

SPEED = Speed(multiply_adds=1e9, numbers=1e9)
NO_TIME = Speed(multiply_adds=math.inf, numbers=math.inf)


@pytest.fixture(scope="module")
def definition(workshop: "Workshop") -> StudyDefinition:
    return workshop.definition


@pytest.fixture(scope="module")
def dataset(workshop: "Workshop") -> Dataset:
    return workshop.dataset


def estimate_of(definition: StudyDefinition, dataset: Dataset, speed: Speed = SPEED) -> Estimate:
    found = estimate(definition, dataset, speed)
    assert found is not None
    return found


def training_seconds(definition: StudyDefinition, dataset: Dataset, speed: Speed = SPEED) -> float:
    """Without what every study takes to start."""
    whole, start = (estimate_of(definition, dataset, one).seconds for one in (speed, NO_TIME))
    assert whole is not None
    assert start is not None
    return whole - start


def changed(definition: StudyDefinition, section: str, **values: object) -> StudyDefinition:
    return definition.model_copy(update={section: getattr(definition, section).model_copy(update=values)})


def test_trainings_are_the_trials_the_race_winner_and_baselines_on_their_seeds_and_the_ladder_at_the_end(
    definition: StudyDefinition, dataset: Dataset
) -> None:
    assert estimate_of(definition, dataset).trainings == 24 + 2 * 3 + (1 + 3) * 8 + 5
    unconfirmed = changed(definition, "confirmation", seeds=0)
    assert estimate_of(unconfirmed, dataset).trainings == 24


def test_a_baseline_whose_kl_weight_the_data_decide_counts_as_any_other(
    definition: StudyDefinition, dataset: Dataset
) -> None:
    rival = definition.model_copy(update={"baselines": {"rival": Baseline(method="sigma")}})
    assert estimate_of(rival, dataset).trainings == 24 + 2 * 3 + (1 + 3) * 8 + 5


def test_time_grows_with_the_epochs_and_falls_with_the_speed(definition: StudyDefinition, dataset: Dataset) -> None:
    once = training_seconds(definition, dataset)
    assert training_seconds(changed(definition, "training", epochs=24), dataset) == pytest.approx(2 * once)
    twice_as_fast = Speed(multiply_adds=2e9, numbers=2e9)
    assert training_seconds(definition, dataset, twice_as_fast) == pytest.approx(once / 2)


def test_memory_grows_with_the_members_that_may_train_at_a_time(definition: StudyDefinition, dataset: Dataset) -> None:
    many = changed(definition, "study", trials=400)
    assert estimate_of(many, dataset).memory > estimate_of(definition, dataset).memory


H200 = InstalledCard(index="0", uuid="GPU-5a", name="NVIDIA H200", driver="570.12", memory=10**12, free=10**12)


def test_on_a_card_the_card_s_memory_is_reckoned_and_no_time(definition: StudyDefinition, dataset: Dataset) -> None:
    """Three copies of 200 rows of 6 numbers, and what two of the most members that may train together differ by."""
    found = estimate(definition, dataset, SPEED, H200)
    assert found is not None
    here = estimate_of(definition, dataset)
    assert (found.device, found.seconds, here.device, here.card_memory) == ("NVIDIA H200", None, "the processor", None)
    assert (found.trainings, found.card_memory) == (here.trainings, here.memory - 950_000_000)
    assert found.memory == 950_000_000 + 3 * 200 * 6 * 4


@pytest.mark.parametrize(("free", "members"), [(10**12, 400), (4_000_000_000, 400), (80_000_000, 349), (0, 2)])
def test_no_more_members_are_reckoned_with_than_a_quarter_of_the_card_s_free_memory_holds(
    definition: StudyDefinition, dataset: Dataset, free: int, members: int
) -> None:
    """Of 2,000 trials a fifth train at a time. Each takes 8 copies of what dense_workload counts."""
    many = changed(definition, "study", trials=2000)
    workload = KINDS["dense"].workload((6,), 3, hidden=(16,), condition_width=0)
    member = 4 * 8 * (workload.weights + 32 * workload.activations)
    assert member == 57_216
    found = estimate(many, dataset, SPEED, replace(H200, free=free))
    assert found is not None
    assert found.card_memory == 3 * 200 * 6 * 4 + members * member


@pytest.mark.parametrize(
    ("missing", "visible", "found"), [([], "0", "NVIDIA H200"), ([], "-1", None), (["nvidia-cudnn-cu12"], "0", None)]
)
def test_a_card_trains_where_it_is_visible_and_cuda_s_libraries_are_installed(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], visible: str, found: str | None
) -> None:
    monkeypatch.setattr(check, "installed_cards", lambda: [H200])
    monkeypatch.setattr(check, "find_missing", lambda package, extra: missing)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    card = find_card()
    assert (card and card.name) == found


def test_a_model_of_the_user_s_own_has_no_estimate(definition: StudyDefinition, dataset: Dataset) -> None:
    own = changed(definition, "model", kind="mine:build", hidden=None)
    assert estimate(own, dataset, SPEED) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_ours_is_none_of_the_user_s_own(kind: str, definition: StudyDefinition, dataset: Dataset) -> None:
    assert examine_own_model(changed(definition, "model", kind=kind), dataset, Path()) is None


def test_this_machine_calculates_at_some_speed() -> None:
    speed = measure_speed()
    assert 1e8 < speed.multiply_adds < 1e15
    assert 1e7 < speed.numbers < 1e13


def test_the_built_in_digits_study_takes_minutes_at_an_ordinary_speed(tmp_path: Path) -> None:
    """It trains 140 models in about a minute and a half on two cores of 85 thousand million multiply-adds a second."""
    from klsearch.studies.definitions.catalog import load_definition

    loaded = load_definition("digits")
    found = estimate_of(
        loaded.definition, load_data(loaded.definition, tmp_path), Speed(multiply_adds=85e9, numbers=4e9)
    )
    assert found.seconds is not None
    assert 45 < found.seconds < 180


def uncommented(lines: list[str], chosen: set[int]) -> str:
    """The template with some optional lines in force; of a key that is there already, the optional line counts."""
    kept: list[str] = []
    given: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(lines):
        text = line.removeprefix("# ") if number in chosen else line
        if text.startswith("["):
            table = text
        key = (table, text.split(" = ")[0])
        if not text.startswith("#") and " = " in text and key in given:
            kept[given[key]] = ""
        given[key] = len(kept)
        kept.append(text)
    return "\n".join(kept)


# Alone or beside any other, these cannot be used for the digits, which are neither a file nor a table.
OF_FILES = ("array", "labels", "group", "split_column", "condition", "columns")
# Lines of a convolution, of a recurrent model, of one's own, and of a cyclical schedule, which the template has not.
OF_OTHER_KINDS = ("filters", "cell", "latent_heads", "searched_dropout", "cycles", "ramp_share")


def test_every_optional_line_of_the_template_alone_and_in_pairs_is_valid_or_refused_with_its_line(
    tmp_path: Path,
) -> None:
    lines, path = template().splitlines(), tmp_path / "m.toml"
    keys = [n for n, line in enumerate(lines) if re.match(r"# \w+ = ", line) and not line.startswith("# method")]
    options = {lines[n].split()[1]: {n} for n in keys}
    options |= {lines[n]: {n, n + 1} for n, line in enumerate(lines) if line.startswith("# [baselines.")}
    assert len(options) >= 11
    refused = set()
    for pair in itertools.combinations_with_replacement(options, 2):
        path.write_text(uncommented(lines, set.union(*(options[name] for name in pair))))
        try:
            loaded, dataset = load_with_data(path)
        except DefinitionError as error:
            assert all(re.match(re.escape(str(path)) + r":\d+: ", problem) for problem in error.problems), error
            refused.add(frozenset(pair))
            continue
        told = check_text(loaded, dataset, estimate(loaded.definition, dataset, SPEED))
        assert told.startswith("my-study: valid\n")
        assert all(name.split(".")[-1].strip("]") in told for name in pair if "baselines" in name)
        assert check_document(loaded.definition, dataset, None)["valid"]
    assert {frozenset([name]) for name in OF_FILES} <= refused
    assert all(pair & {*OF_FILES, *OF_OTHER_KINDS} for pair in refused), refused


def test_bytes_are_reckoned_once_and_float32_in_three_copies(definition: StudyDefinition, tmp_path: Path) -> None:
    """Of few rows to train on, which models take more memory for than a PCA does."""

    def memory(rows: np.ndarray) -> int:
        np.save(tmp_path / "rows.npy", rows)
        data = load_dataset(Request(source="rows.npy", folder=tmp_path), test=0.0, validation=0.99)
        return estimate_of(definition, data).memory

    images = np.random.default_rng(0).integers(0, 256, (400, 32, 32), np.uint8)
    assert memory(images.astype(np.float32)) - memory(images) == (3 * 4 - 1) * images.size
    assert memory(images) - memory(images[:300]) == images[300:].size
