"""The data of a study, checked against the rest of its definition."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from klsearch.studies.definitions.catalog import LoadedDefinition, find_text
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import in_lines, join_path, read_document
from klsearch.studies.definitions.problems import mend
from klsearch.studies.definitions.toml_source import KeyPath
from klsearch.studies.errors import DataError, DefinitionError
from klsearch.vae.data.cautions import CHANNELS_FIRST, Caution, channels_first
from klsearch.vae.data.conditions import LABELS
from klsearch.vae.data.datasets import DataProblem, Dataset, Request, load_dataset
from klsearch.vae.data.gaps import have_gaps
from klsearch.vae.networks.kinds import KINDS

_Problems = list[tuple[KeyPath, str]]
Examine = Callable[[StudyDefinition, Dataset, Path], object]
# Without these no model can be built.
_EXAMINED: tuple[KeyPath, ...] = (("model", "kind"), ("model", "latent_dim"), ("model", "likelihood"), ("space",))


def load_data(definition: StudyDefinition, folder: Path) -> Dataset:
    """The data that a definition names, split by the study's seed.

    Args:
        definition: the study.
        folder: what a relative source is relative to.

    Raises:
        DataError: the data cannot be read or trained on, or do not fit the model, the batch size or the confirmation.
    """
    dataset, problems = _try_to_load(definition, folder)
    if dataset is None or problems:
        raise DataError(*(text for _, text in problems))
    return dataset


def load_with_data(study: str | Path, examine: Examine | None = None) -> tuple[LoadedDefinition, Dataset]:
    """A definition, as `load_definition` finds it, and its data.

    Args:
        study: a built-in study's name, or a file.
        examine: raises DefinitionError for what else is wrong; its problems begin with the key that they concern.

    Raises:
        DefinitionError: with every problem of both; of the data, where `[data]` is sound; and of what was examined,
            where `[data]` and the model are.
    """
    found = find_text(study)
    mending = mend(read_document(found.text, found.where))
    problems = [(path, f"{join_path(path)}: {text}") for path, text in mending.problems.items()]
    dataset = None
    if mending.definition is not None and not mending.concerns(("data",)):
        dataset, of_data = _try_to_load(mending.definition, found.folder)
        problems += [(path, text) for path, text in of_data if not mending.concerns(path)]
        sound = not any(map(mending.concerns, _EXAMINED))
        if examine is not None and dataset is not None and sound:
            problems += _examined(examine, mending.definition, dataset, found.folder)
    if dataset is None or problems:
        raise DefinitionError(in_lines(problems, found.text, found.where))
    return found.loaded(), dataset


def _examined(examine: Examine, definition: StudyDefinition, dataset: Dataset, folder: Path) -> _Problems:
    try:
        examine(definition, dataset, folder)
    except DefinitionError as error:
        return [(tuple(text.partition(": ")[0].split(".")), text) for text in error.problems]
    return []


def cautions(definition: StudyDefinition, dataset: Dataset) -> list[Caution]:
    """What may disappoint without being wrong: in the definition, in the data, and between the two."""
    latents, features = definition.model.latent_dim, math.prod(dataset.shape)
    found, kind = {}, definition.model.kind
    if latents >= features:
        found["many-latents"] = (
            f"model.latent_dim: {latents} latents for {features} values a row compress nothing; use fewer"
        )
    if _takes_channels_last(kind, len(dataset.shape)) and (text := channels_first(dataset.train, kind)):
        found[CHANNELS_FIRST] = text
    return [*definition.cautions(), *(Caution(text, code) for code, text in found.items()), *dataset.warnings]


def _takes_channels_last(kind: str, axes: int) -> bool:
    """Tell whether a kind takes the last of so many axes for channels: of series two, of images three."""
    return axes == 3 if kind == "conv" else kind in KINDS and KINDS[kind].is_of_series


def _try_to_load(definition: StudyDefinition, folder: Path) -> tuple[Dataset | None, _Problems]:
    """The data, if they can be read, and what is wrong with them, each with the key that it concerns."""
    section, likelihood = definition.data, definition.objective().likelihood
    try:
        dataset = load_dataset(
            Request(
                source=section.source,
                folder=folder,
                array=section.array,
                rows=section.rows,
                labels=section.labels,
                group=section.group,
                split_column=section.split_column,
                condition=section.condition if isinstance(section.condition, tuple) else (),
                columns=section.columns,
            ),
            missing=section.missing,
            condition_on_labels=section.condition == LABELS,
            scaling=likelihood.scaling if section.scaling == "auto" else section.scaling,
            of_counts=likelihood.scaling == "counts",
            validation=section.split.validation,
            test=section.split.test,
            seed=definition.study.seed,
        )
    except DataProblem as error:
        return None, [(("data", "source"), str(error))]
    return dataset, [(path, f"{section.source}: {problem}") for path, problem in _misfits(definition, dataset)]


def _misfits(definition: StudyDefinition, dataset: Dataset) -> _Problems:
    """The ways in which the data do not fit the rest of the definition."""
    found: _Problems = []
    rows, batch_size, seeds = dataset.rows, definition.training.batch_size, definition.confirmation.seeds
    if batch_size > rows["train"]:
        text = f"training.batch_size = {batch_size} is larger than the training split of {rows['train']} rows"
        found.append((("training", "batch_size"), text))
    # All rows, as for NaN: what the likelihood can score at all is no choice that the test rows could sway.
    likelihood = definition.objective().likelihood
    known = [np.nan_to_num(split, nan=0.0) if have_gaps(split) else split for split in dataset.splits.values()]
    if misfit := likelihood.misfit(known, dataset.scaling.kind):
        found.append((("model", "likelihood"), f"model.likelihood = '{likelihood.name}' {misfit}"))
    kind = definition.model.kind
    if kind in KINDS and (misfit := KINDS[kind].misfit(dataset.shape)):
        found.append((("model", "kind"), f"model.kind = '{kind}' {misfit}"))
    if seeds > 0 and rows["test"] == 0:
        text = "no row is in the test split, on which the winner is scored; name some, or set confirmation.seeds = 0"
        found.append((("confirmation", "seeds"), text))
    return found
