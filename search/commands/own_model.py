"""A model of the user's own, built before a study begins, so that what is wrong with it is known at once."""

import math
from pathlib import Path

from klsearch.search.training.tensorflow import load_tensorflow
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.data.readers.functions import is_function


def weights_of_own_model(definition: StudyDefinition, dataset: Dataset, folder: Path) -> int | None:
    """How many weights the user's own model trains, which is built for it; None where the model is not their own.

    TensorFlow is loaded only for a model of their own, whose module needs it anyway.

    Args:
        definition: the study.
        dataset: its data, for the shape of a row.
        folder: where the model's module is looked for.

    Raises:
        DefinitionError: the module cannot be imported, the factory fails, or what it gives does not fit.
    """
    if not is_function(definition.model.kind):
        return None
    load_tensorflow()
    from klsearch.search.training.models import build_network
    from klsearch.vae.networks.stacking import trainable_variables

    network = build_network(definition, dataset, folder)
    return sum(int(math.prod(variable.shape)) for variable in trainable_variables(network))
