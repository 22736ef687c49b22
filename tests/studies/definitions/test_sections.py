"""The tables of a definition, each by itself."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.definitions.sections import (
    RESERVED_ENDINGS,
    Baseline,
    ConfirmationSection,
    DataSection,
    GatesSection,
    ModelSection,
    Split,
    StudySection,
    TrainingSection,
    extended_name,
)
from klsearch.studies.definitions.space import Section
from klsearch.vae.diagnostics.gates import GateThresholds
from klsearch.vae.hyperparameters import NAMES
from klsearch.vae.likelihoods.catalog import LIKELIHOODS

OnlyProblem = Callable[[str, str], str]


@pytest.mark.parametrize(
    "name", ["", " ", "..", "a/b", "a\\\\b", "-x", "tab\\tbed", "x" * 130, "c:d", "x (confirmation)", "x (turns)"]
)
def test_a_name_that_is_no_folder_name_is_refused(only_problem: OnlyProblem, name: str) -> None:
    assert "my.toml:2: study.name: a study's name" in only_problem('name = "mine"', f'name = "{name}"')


@pytest.mark.parametrize(
    "values", ["{ validation = 0.5, test = 0.5 }", "{ validation = 0.9, test = 0.3 }", "{ validation = 0.86 }"]
)
def test_a_split_that_leaves_nothing_to_train_is_refused(only_problem: OnlyProblem, values: str) -> None:
    assert "my.toml:6: data.split: validation and test must leave rows" in only_problem(
        '"digits"', f'"digits"\nsplit = {values}'
    )


def test_a_band_may_be_left_to_a_reference(good: str, only_problem: OnlyProblem) -> None:
    asked = parse_definition(good.replace("trials = 20", 'trials = 20\nkl_band = "auto"'), "my.toml")
    assert asked.study.kl_band == "auto"
    problem = only_problem("trials = 20", 'trials = 20\nkl_band = "atuo"')
    assert problem == "my.toml:4: study.kl_band: must be two numbers, such as [0.0, 5.0], or 'auto', but is 'atuo'"


@pytest.mark.parametrize(
    ("table", "place", "problem"),
    [
        ('[baselines.rival]\nmethod = "sigma"\nl2 = 0.1', "l2", "method = 'sigma' decides it; remove one of them"),
        ('[baselines.rival]\nmethod = "beta2"', "method", "must be 'beta1', 'sigma' or 'control', but is 'beta2'"),
        ('[baselines.after]\nmethod = "control"', "method", "the name stands for the recipe's settings"),
    ],
)
def test_a_method_stands_alone_under_a_name_of_its_own(
    only_problem: OnlyProblem, table: str, place: str, problem: str
) -> None:
    found = only_problem("[space]", f"{table}\n[space]")
    assert f": baselines.{table.split(']')[0].split('.')[1]}.{place}: " in found
    assert problem in found


@pytest.mark.parametrize("rival", ['group = "g"', "split = { test = 0.2 }"])
def test_a_column_of_splits_excludes_other_ways_to_split(only_problem: OnlyProblem, rival: str) -> None:
    assert "split_column already says" in only_problem('"digits"', f'"digits"\nsplit_column = "s"\n{rival}')


@pytest.mark.parametrize(
    ("old", "new", "remedy"),
    [
        ("trials = 20", 'trials = 20\npruner = "hyperband"', "use one of 'none', 'median'"),
        ("epochs = 40", 'epochs = 40\nprecision = "mixed_float16"', "use 'float32'"),
    ],
)
def test_what_this_version_cannot_run_is_refused_with_what_to_use_instead(
    only_problem: OnlyProblem, old: str, new: str, remedy: str
) -> None:
    problem = only_problem(old, new)
    assert "is not available yet in this version" in problem
    assert remedy in problem


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('"digits"', '"digits"\ncondition = ["batch", "label", "batch"]', "data.condition"),
        ("[model]", '[model]\nsearched_dropout = ["batch", "batch"]', "model.searched_dropout"),
    ],
)
def test_a_name_that_is_listed_twice_is_refused(only_problem: OnlyProblem, old: str, new: str, place: str) -> None:
    assert f"{place}: names 'batch' more than once" in only_problem(old, new)


@pytest.mark.parametrize("band", ["[5, 1]", "[2, 2]", "[-1, 5]", "[1]", "[1, 2, 3]", "3", '["a", 1]'])
def test_a_band_is_two_rising_numbers_from_zero(only_problem: OnlyProblem, band: str) -> None:
    assert only_problem("trials = 20", f"trials = 20\nkl_band = {band}").startswith("my.toml:4: study.kl_band")


def problems_of_table(section: type[Section], **entries: Any) -> dict[tuple[str | int, ...], str]:
    """What is wrong with a table of these entries, by the path of each key."""
    with pytest.raises(ValidationError) as refused:
        section.model_validate(entries)
    return {error["loc"]: error["msg"] for error in refused.value.errors()}


@pytest.mark.parametrize("name", ["a", "a.b", ".hidden", "a b", "x" * 120, "é" * 60, "漢字", "trial 3", "(turns)"])
def test_a_name_that_a_folder_can_bear_is_accepted(name: str) -> None:
    assert StudySection(name=name, trials=1).name == name


@given(st.text(min_size=1), st.sampled_from(["-trial-7", *RESERVED_ENDINGS]))
def test_an_extended_name_ends_as_asked_and_is_never_too_long(name: str, ending: str) -> None:
    longer = extended_name(name.encode(errors="ignore").decode(), ending)
    assert longer.endswith(ending)
    assert len(longer.encode()) <= 120
    assert name.encode(errors="ignore").decode().startswith(longer.removesuffix(ending))


@pytest.mark.parametrize(
    ("kind", "sizes", "missing", "superfluous"),
    [
        ("dense", {}, {"hidden"}, set()),
        ("dense", {"filters": [4]}, {"hidden"}, {"filters"}),
        ("dense", {"hidden": [4], "filters": [4]}, set(), {"filters"}),
        ("conv", {}, {"filters"}, set()),
        ("conv", {"hidden": [4]}, {"filters"}, set()),
        ("mine:make", {"hidden": [4], "filters": [4], "cell": "gru"}, set(), {"hidden", "filters", "cell"}),
        ("recurrent", {"cell": "lstm"}, {"hidden"}, set()),
        ("conv1d", {"filters": [4], "cell": "gru"}, set(), {"cell"}),
    ],
)
def test_a_model_has_the_sizes_of_its_kind_and_no_others(
    kind: str, sizes: dict[str, Any], missing: set[str], superfluous: set[str]
) -> None:
    found = problems_of_table(ModelSection, kind=kind, latent_dim=2, **sizes)
    assert {name for (name, *_), text in found.items() if text.startswith("missing; ")} == missing
    assert {name for (name, *_), text in found.items() if text.startswith("has no effect ")} == superfluous
    assert len(found) == len(missing | superfluous)


@pytest.mark.parametrize(
    ("kind", "sizes"), [("dense", {"hidden": [4]}), ("conv", {"filters": [4]}), ("mine.models:make", {})]
)
def test_a_model_of_the_sizes_of_its_kind_is_sound(kind: str, sizes: dict[str, list[int]]) -> None:
    assert ModelSection.model_validate({"kind": kind, "latent_dim": 2, **sizes}).kind == kind


@pytest.mark.parametrize("kind", ["", "mine:", ":make", "mine make", "mine:make it", "3d:make", "mine:make:again"])
def test_a_model_of_the_user_s_own_is_named_by_module_and_function(kind: str) -> None:
    assert list(problems_of_table(ModelSection, kind=kind, latent_dim=2)) == [("kind",)]


def test_an_unknown_likelihood_is_refused_with_the_known_ones() -> None:
    found = problems_of_table(ModelSection, kind="dense", hidden=[4], latent_dim=2, likelihood="gausian")
    names = [repr(name) for name in LIKELIHOODS]
    assert found == {("likelihood",): f"Input should be {', '.join(names[:-1])} or {names[-1]}"}


@pytest.mark.parametrize(("validation", "test"), [(0.999, 0.0), (0.5, 0.499), (0.15, 0.15)])
def test_a_split_may_leave_few_rows_to_train(validation: float, test: float) -> None:
    assert Split(validation=validation, test=test).validation == validation


def test_a_column_of_splits_leaves_no_room_for_a_share_or_a_group() -> None:
    found = problems_of_table(DataSection, source="rows.csv", split_column="s", split={"test": 0.2}, group="g")
    assert list(found) == [("split",), ("group",)]
    assert DataSection(source="rows.csv", split_column="s", labels="l").split == Split(), "the default is not asked for"


def test_a_baseline_tells_only_what_it_was_given() -> None:
    assert Baseline.model_validate({"kl_weight": 0.5, "annealing_epochs": 0}).settings() == {
        "kl_weight": 0.5,
        "annealing_epochs": 0,
    }
    assert Baseline().settings() == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_method_decides_everything_but_how_fast_is_learnt(name: str) -> None:
    entries = {"method": "beta1", name: 1 if name == "annealing_epochs" else 0.5}
    if name in ("learning_rate", "clipnorm"):
        assert Baseline.model_validate(entries).settings() == {name: 0.5}
    else:
        assert problems_of_table(Baseline, **entries) == {(name,): "method = 'beta1' decides it; remove one of them"}


def test_gates_and_thresholds_have_the_same_defaults() -> None:
    asked, thresholds = GatesSection(), GateThresholds()
    for name in GatesSection.model_fields:
        assert getattr(asked, name) == getattr(thresholds, name)


@pytest.mark.parametrize(
    ("section", "entries", "path"),
    [
        (TrainingSection, {"epochs": 0}, ("epochs",)),
        (TrainingSection, {"epochs": 1, "learning_rate": 0}, ("learning_rate",)),
        (TrainingSection, {"epochs": 1, "clipnorm": 0}, ("clipnorm",)),
        (StudySection, {"name": "a", "trials": 1, "seed": 2**32}, ("seed",)),
        (StudySection, {"name": "a", "trials": 1, "seed": -1}, ("seed",)),
        (ConfirmationSection, {"seeds": -1}, ("seeds",)),
        (ConfirmationSection, {"top": 0}, ("top",)),
        (GatesSection, {"window": 1}, ("window",)),
        (GatesSection, {"max_kl_slope": 0}, ("max_kl_slope",)),
        (DataSection, {"source": "a", "rows": 0}, ("rows",)),
        (DataSection, {"source": "a", "labels": ""}, ("labels",)),
    ],
)
def test_numbers_beyond_their_bounds_are_refused(
    section: type[Section], entries: dict[str, Any], path: tuple[str, ...]
) -> None:
    assert list(problems_of_table(section, **entries)) == [path]


def test_no_clipping_of_gradients_may_be_written_as_infinity() -> None:
    assert TrainingSection(epochs=1, clipnorm=float("inf")).clipnorm == float("inf")


@pytest.mark.parametrize(("key", "value"), [("cycles", 3), ("ramp_share", 0.25)])
def test_cycles_are_those_of_a_cyclical_schedule(key: str, value: float) -> None:
    made = TrainingSection.model_validate({"epochs": 9, "kl_schedule": "cyclical", key: value})
    assert getattr(made.schedule(), key) == value
