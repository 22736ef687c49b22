"""Data against the rest of a definition."""

from pathlib import Path

import numpy as np
import pytest

from klsearch.studies.definitions.catalog import load_definition, template
from klsearch.studies.definitions.data import cautions, load_data, load_with_data
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import DataError, DefinitionError

ROWS = np.random.default_rng(0).normal(size=(100, 3))


def loaded(folder: Path, *changes: tuple[str, str]) -> dict[str, int]:
    """The rows by split of the template's study on a small table, after changes of the text."""
    np.save(folder / "rows.npy", ROWS)
    text = template().replace('"digits" ', '"rows.npy" ', 1).replace("batch_size = 128", "batch_size = 70")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return load_data(parse_definition(text, "my.toml"), folder).rows


def test_digits_load_by_the_built_in_definition() -> None:
    study = load_definition("digits")
    dataset = load_data(study.definition, study.folder)
    assert dataset.rows == {"train": 1257, "validation": 270, "test": 270}
    assert dataset.labels is not None


def test_a_relative_source_is_looked_for_beside_the_definition(tmp_path: Path) -> None:
    assert loaded(tmp_path) == {"train": 70, "validation": 15, "test": 15}


def test_a_batch_larger_than_the_training_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="batch_size = 71 is larger than the training split of 70 rows"):
        loaded(tmp_path, ("batch_size = 70", "batch_size = 71"))


def test_cross_entropy_is_refused_for_values_outside_zero_to_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'bernoulli' needs values in \[0, 1\]"):
        loaded(tmp_path, ('likelihood = "gaussian"', 'likelihood = "bernoulli"'))


def test_cross_entropy_is_refused_where_only_a_test_row_lies_outside_zero_to_one(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,part\n0,1,train\n1,0,train\n0.5,1,val\n2,1,test\n")
    changes = (
        ('"rows.npy" ', '"rows.csv" '),
        ("split = { validation = 0.15, test = 0.15 }", 'split_column = "part"'),
        ("batch_size = 70", "batch_size = 1"),
    )
    assert loaded(tmp_path, *changes) == {"train": 2, "validation": 1, "test": 1}
    with pytest.raises(DataError, match=r"'bernoulli' needs values in \[0, 1\]"):
        loaded(tmp_path, *changes, ('likelihood = "gaussian"', 'likelihood = "bernoulli"'))


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial", "zero_inflated_negative_binomial"])
@pytest.mark.parametrize("scaling", ["auto", "none"])
def test_what_is_no_count_is_refused_by_row_and_column_however_counts_are_left_as_they_are(
    tmp_path: Path, likelihood: str, scaling: str
) -> None:
    changes = (
        ('likelihood = "gaussian"', f'likelihood = "{likelihood}"'),
        ('scaling = "auto"', f'scaling = "{scaling}"'),
        ('"rows.npy" ', '"counts.npy" '),
    )
    counts = np.random.default_rng(0).poisson(5.0, size=(100, 3)).astype(float) + 1
    np.save(tmp_path / "counts.npy", counts)
    assert loaded(tmp_path, *changes) == {"train": 70, "validation": 15, "test": 15}
    counts[41, 2] = 2.5
    np.save(tmp_path / "counts.npy", counts)
    with pytest.raises(DataError, match=r"counts\.npy: 2\.5 at column 2, row 41 \(counted from 0\) is no whole number"):
        loaded(tmp_path, *changes)


def test_convolutions_are_refused_for_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs images, but the data are a table"):
        loaded(tmp_path, ('kind = "dense"', 'kind = "conv"'), ("hidden = [128, 64]", "filters = [4]"))


def test_a_column_of_splits_without_a_test_split_is_refused_where_a_winner_is_confirmed(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,part\n1,train\n2,train\n3,val\n")
    changes = (
        ('"rows.npy" ', '"rows.csv" '),
        ("split = { validation = 0.15, test = 0.15 }", 'split_column = "part"'),
        ("batch_size = 70", "batch_size = 1"),
    )
    with pytest.raises(DataError, match=r"set confirmation\.seeds = 0"):
        loaded(tmp_path, *changes)
    assert loaded(tmp_path, *changes, ("seeds = 8", "seeds = 0")) == {"train": 2, "validation": 1, "test": 0}


def test_a_problem_of_the_data_is_an_error_for_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder") as caught:
        loaded(tmp_path, ('"rows.npy" ', '"nowhere.npy" '))
    assert caught.value.exit_code == 2


def problems_of(folder: Path, *changes: tuple[str, str]) -> list[str]:
    """What is wrong with the template's study after changes of its text; lines without the folder."""
    text = template()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "my.toml").write_text(text)
    with pytest.raises(DefinitionError) as caught:
        load_with_data(folder / "my.toml")
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def line_of(key: str) -> int:
    return next(number for number, line in enumerate(template().splitlines(), 1) if line.startswith(f"{key} ="))


def test_faults_of_definition_and_data_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    source, batch, latents = ('"digits" ', '"rows.npy" '), ("batch_size = 128", "batch_size = 71"), "latent_dim = "
    assert problems_of(tmp_path, source, batch, (latents, "latent_dim = -")) == [
        f"my.toml:{line_of('latent_dim')}: model.latent_dim: must be at least 1, but is -8",
        f"my.toml:{line_of('batch_size')}: rows.npy: training.batch_size = 71 is larger than the training split of 70 "
        "rows",
    ]
    first, second = problems_of(tmp_path, ('"digits" ', '"nowhere.npy" '), (latents, "latent_dim = -"))
    assert first.startswith(f"my.toml:{line_of('source')}: {tmp_path / 'nowhere.npy'}: no such file or folder")
    assert second.startswith(f"my.toml:{line_of('latent_dim')}: model.latent_dim: must be at least 1")


def test_of_data_that_a_wrong_definition_leaves_open_nothing_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    (line,) = problems_of(tmp_path, ('"digits" ', '"rows.npy" '), ("batch_size = 128", "batch_size = 0"))
    assert "training.batch_size: must be at least 1" in line
    (line,) = problems_of(tmp_path, ('source = "digits" ', "source = 7 "))
    assert "data.source: must be text in quotes" in line


def test_as_many_latents_as_values_in_a_row_are_told_with_a_code(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    for latents, told in ((3, True), (2, False)):
        text = template().replace('"digits" ', '"rows.npy" ', 1).replace("batch_size = 128", "batch_size = 70")
        definition = parse_definition(text.replace("latent_dim = 8", f"latent_dim = {latents}"), "my.toml")
        codes = [caution.code for caution in cautions(definition, load_data(definition, tmp_path))]
        assert ("many-latents" in codes) is told


@pytest.mark.parametrize(("kind", "told"), [("conv1d", True), ("recurrent", True), ("dense", False)])
def test_series_with_their_channels_first_are_told_where_steps_are_taken_first(
    kind: str, told: bool, tmp_path: Path
) -> None:
    series = np.cumsum(np.random.default_rng(0).normal(size=(300, 20, 3)), axis=1)
    text = template().replace('"digits" ', '"rows.npy" ', 1).replace('kind = "dense"', f'kind = "{kind}"')
    text = text.replace("hidden = [128, 64]", "filters = [8]\nhidden = [8]" if kind == "conv1d" else "hidden = [8]")
    definition = parse_definition(text, "my.toml")
    for rows, wrong in ((series.swapaxes(1, 2), True), (series, False)):
        np.save(tmp_path / "rows.npy", rows)
        found = cautions(definition, load_data(definition, tmp_path))
        warnings = [one for one in found if one.code == "channels-first"]
        assert len(warnings) == (told and wrong)
        assert not warnings or warnings[0].startswith("rows of 3 x 20 look like 3 channels of 20 steps, but ")


@pytest.mark.parametrize(("kind", "told"), [("conv", True), ("dense", False)])
@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 11, 9)])
def test_images_with_their_channels_first_are_told_where_channels_are_taken_last(
    kind: str, told: bool, shape: tuple[int, ...], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).uniform(size=(100, *shape))
    text = template().replace('"digits" ', '"rows.npy" ', 1).replace("batch_size = 128", "batch_size = 64")
    text = text.replace('kind = "dense"', f'kind = "{kind}"')
    text = text.replace("hidden = [128, 64]", "filters = [8]" if kind == "conv" else "hidden = [8]")
    definition = parse_definition(text, "my.toml")
    for rows, wrong in ((images, True), (np.moveaxis(images, 1, -1), False)):
        np.save(tmp_path / "rows.npy", rows)
        found = cautions(definition, load_data(definition, tmp_path))
        warnings = [one for one in found if one.code == "channels-first"]
        assert len(warnings) == (told and wrong)
        assert not warnings or warnings[0].endswith(
            "'conv' takes channels last: write them as np.moveaxis(rows, 1, -1)"
        )


def test_series_for_a_network_of_images_are_no_images_with_their_channels_first(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.cumsum(np.random.default_rng(0).normal(size=(100, 3, 20)), axis=2))
    text = template().replace('"digits" ', '"rows.npy" ', 1).replace("batch_size = 128", "batch_size = 64")
    text = text.replace('kind = "dense"', 'kind = "conv"').replace("hidden = [128, 64]", "filters = [8]")
    definition = parse_definition(text, "my.toml")
    found = cautions(definition, load_data(definition, tmp_path))
    assert "channels-first" not in [caution.code for caution in found]
