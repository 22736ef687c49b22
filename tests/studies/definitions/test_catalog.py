"""Finding and changing definitions."""

import os
import re
from pathlib import Path

import pytest

from klsearch.studies.definitions.catalog import (
    builtin_studies,
    define_study,
    load_definition,
    override,
    template,
    with_baseline,
)
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.definitions.sections import Baseline, extended_name
from klsearch.studies.definitions.space import Space
from klsearch.studies.errors import DefinitionError
from klsearch.vae.hyperparameters import AFTER, NAMES


def problem(study: str | Path) -> str:
    with pytest.raises(DefinitionError) as caught:
        load_definition(study)
    (line,) = caught.value.problems
    return line


def saved(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["digits", "fashion-mnist"])
def test_built_in_studies_are_sound_and_without_warnings(name: str) -> None:
    loaded = load_definition(name)
    assert loaded.definition.study.name == name
    assert loaded.definition.cautions() == []
    assert loaded.path is None


def test_built_in_studies_are_described_in_a_line_each() -> None:
    described = builtin_studies()
    assert list(described) == ["digits", "fashion-mnist"]
    assert all(line and "\n" not in line and not line.startswith("#") for line in described.values())


def test_the_built_in_spaces_search_all_that_the_tool_is_for() -> None:
    expected = ["kl_weight", "clip_low", "clip_high", "annealing_epochs", "l2", "encoder_dropout"]
    for name in builtin_studies():
        assert list(load_definition(name).definition.space.searched()) == expected


def test_the_template_runs_as_it_is_and_explains_every_key(tmp_path: Path) -> None:
    loaded = load_definition(saved(tmp_path, template()))
    assert loaded.definition.cautions() == []
    sections = {name: getattr(loaded.definition, name) for name in type(loaded.definition).model_fields}
    keys = {key for name, section in sections.items() if name != "baselines" for key in type(section).model_fields}
    assert [key for key in sorted(keys) if f"{key} = " not in template()] == []


def test_a_file_is_read_with_its_folder(tmp_path: Path) -> None:
    path = saved(tmp_path, template())
    loaded = load_definition(str(path))
    assert (loaded.path, loaded.folder, loaded.toml) == (path, tmp_path.resolve(), template())


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    assert load_definition(saved(tmp_path, "\ufeff" + template())).definition.study.name == "my-study"


def test_a_built_in_name_means_the_built_in_study_whatever_lies_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, template(), "digits")
    monkeypatch.chdir(tmp_path)
    assert load_definition("digits").definition.study.name == "digits"
    assert load_definition("./digits").definition.study.name == "my-study"


def test_an_unknown_study_is_refused_with_the_near_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, template(), "experiment.toml")
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'digits'?" in problem("digts")
    assert "did you mean 'experiment.toml'?" in problem("experimnt.toml")
    assert "did you mean" not in problem("zzz")
    assert "`klsearch list`" in problem("zzz")


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, template())
    assert "no file of that name" in problem(path / "deeper.toml")


def test_a_folder_is_no_definition_and_a_run_folder_says_how_to_go_on(tmp_path: Path) -> None:
    assert problem(tmp_path) == f"{tmp_path}: is a folder, not a study definition"
    saved(tmp_path, template(), "study.toml")
    assert "`klsearch resume`" in problem(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00s", "is not UTF-8 text (byte 0)"),
        (b"\x7fELF\x02\x01\x00", ":1: is not TOML"),
        (b"#" * 1_000_001, "more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_definition_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    assert reason in problem(path)


def test_a_pipe_or_a_device_is_no_definition_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.toml")
    for path in (tmp_path / "mine.toml", Path("/dev/zero")):
        assert problem(path) == f"{path}: cannot be read: it is no ordinary file; save it as a file"


def test_what_the_system_refuses_to_open_is_refused_with_its_reason(tmp_path: Path) -> None:
    assert "cannot be read: File name too long" in problem(tmp_path / ("x" * 300))


def test_overrides_change_the_definition_and_its_text_and_keep_comments() -> None:
    changed = override(load_definition("digits"), seed=7, trials=3, name="other")
    assert (changed.definition.study.seed, changed.definition.study.trials) == (7, 3)
    assert "# nats per latent dimension" in changed.toml
    assert parse_definition(changed.toml, "stored") == changed.definition


@pytest.mark.parametrize("name", ["x" * 120, "ä" * 60, "€" * 40])
def test_a_definition_with_a_longer_name_can_be_loaded_however_long_the_name_was(name: str) -> None:
    loaded = override(load_definition("digits"), name=name)
    toml = with_baseline(loaded, "trial-12345", AFTER, study=extended_name(name, "-trial-12345"))
    longer = parse_definition(toml, "best.toml")
    assert longer.study.name.endswith("-trial-12345")
    assert longer.study.name.startswith(name[:30])
    assert longer.baseline_hyperparameters()["trial-12345"] == AFTER


def test_overriding_nothing_changes_nothing() -> None:
    loaded = load_definition("digits")
    assert override(loaded, seed=None) is loaded


def test_an_override_is_checked_like_the_file() -> None:
    with pytest.raises(DefinitionError, match=r"study\.trials: must be at least 1, but is 0"):
        override(load_definition("digits"), trials=0)


@pytest.mark.parametrize("source", ["digits", "loaders:rows", "/abs/rows.npy"])
def test_a_source_that_is_no_relative_path_is_copied_as_it_is(tmp_path: Path, source: str) -> None:
    loaded = load_definition(saved(tmp_path, template().replace('"digits" ', f'"{source}" ', 1)))
    assert loaded.definition.data.source == source
    assert loaded.toml_for_any_folder() == loaded.toml


def test_a_relative_source_is_made_absolute_in_a_copy_for_another_folder(tmp_path: Path) -> None:
    loaded = load_definition(saved(tmp_path, template().replace('"digits" ', '"rows.npy" ', 1)))
    copied = parse_definition(loaded.toml_for_any_folder(), "copy")
    assert copied.data.source == str(tmp_path.resolve() / "rows.npy")
    assert copied.fingerprint_parts() == loaded.definition.fingerprint_parts()


def test_a_source_in_the_user_s_home_is_copied_as_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    loaded = load_definition(saved(tmp_path, template().replace('"digits" ', '"~/rows.npy" ', 1)))
    copied = parse_definition(loaded.toml_for_any_folder(), "copy")
    assert copied.data.source == str(tmp_path.resolve() / "home" / "rows.npy")


VALUES: dict[str, dict[str, object]] = {
    "study": {"name": "mine", "trials": 24, "kl_band": (0.5, 4.0)},
    "data": {"source": "rows.npy"},
    "model": {"kind": "dense", "hidden": [32], "latent_dim": 4},
    "training": {"epochs": 60},
    "space": {"kl_weight": {"low": 1e-3, "high": 10.0, "log": True}},
}


def test_a_definition_of_python_values_is_the_one_that_its_text_reads_back_to(tmp_path: Path) -> None:
    loaded = define_study(VALUES, tmp_path)
    assert (loaded.definition.study.kl_band, loaded.definition.model.hidden) == ((0.5, 4.0), (32,))
    assert (loaded.folder, loaded.path) == (tmp_path, None)
    (tmp_path / "same.toml").write_text(loaded.toml)
    assert load_definition(tmp_path / "same.toml").definition == loaded.definition


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ({"name": "mine", "trials": 0}, r"the definition:3: study\.trials: "),
        ({"name": "mine", "trials": None}, "the definition: Unable to convert an object of <class 'NoneType'>"),
        ({"name": "mine", "trails": 9}, r"the definition:3: study\.trails: unknown key, did you mean 'trials'\?"),
    ],
)
def test_values_that_make_no_definition_are_refused_with_their_key(study: dict[str, object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        define_study(VALUES | {"study": study})


@pytest.mark.parametrize("name", NAMES)
def test_whatever_may_be_searched_is_explained_in_the_template_and_may_be_a_baseline_s(name: str) -> None:
    assert re.search(rf"^#? ?{name}\b", template(), flags=re.MULTILINE)
    assert name in Space.model_fields
    assert name in Baseline.model_fields


def test_the_template_s_own_settings_differ_from_the_recipe_s() -> None:
    assert parse_definition(template(), "m.toml").same_baselines() == {}
