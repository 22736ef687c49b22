"""The data of a study, checked against the rest of its definition."""

from pathlib import Path

import numpy as np

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.errors import DataError
from klsearch.vae.data.datasets import DataProblem, Dataset, Request, load_dataset
from klsearch.vae.data.gaps import have_gaps


def load_data(definition: StudyDefinition, folder: Path) -> Dataset:
    """The data that a definition names, split by the study's seed.

    Args:
        definition: the study.
        folder: what a relative source is relative to.

    Raises:
        DataError: the data cannot be read or trained on, or do not fit the model, the batch size or the confirmation.
    """
    section = definition.data
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
                columns=section.columns,
            ),
            missing=section.missing,
            scaling=section.scaling,
            validation=section.split.validation,
            test=section.split.test,
            seed=definition.study.seed,
        )
    except DataProblem as error:
        raise DataError(str(error)) from error
    problems = _misfits(definition, dataset)
    if problems:
        raise DataError("\n".join(f"{section.source}: {problem}" for problem in problems))
    return dataset


def _misfits(definition: StudyDefinition, dataset: Dataset) -> list[str]:
    """The ways in which the data do not fit the rest of the definition."""
    found = []
    rows, batch_size, seeds = dataset.rows, definition.training.batch_size, definition.confirmation.seeds
    if batch_size > rows["train"]:
        found.append(f"training.batch_size = {batch_size} is larger than the training split of {rows['train']} rows")
    # All rows, as for NaN: what the likelihood can score at all is no choice that the test rows could sway.
    likelihood = definition.objective().likelihood
    known = [np.nan_to_num(split, nan=0.0) if have_gaps(split) else split for split in dataset.splits.values()]
    if misfit := likelihood.misfit(known, dataset.scaling.kind):
        found.append(f"model.likelihood = '{likelihood.name}' {misfit}")
    if definition.model.kind == "conv" and len(dataset.shape) == 1:
        found.append("model.kind = 'conv' needs images, but the data are a table; use 'dense'")
    if seeds > 0 and rows["test"] == 0:
        found.append(
            "no row is in the test split, on which the winner is scored; name some, or set confirmation.seeds = 0"
        )
    return found
