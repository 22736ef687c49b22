"""The network and the population that a definition asks for."""

import math
from pathlib import Path

from search.layout import Layout
from studies.definition import StudyDefinition
from studies.errors import DefinitionError
from vae.datasets import DataProblem, Dataset
from vae.elbo import Objective
from vae.networks import Network, computing_in, conv_network, dense_network, factory_network
from vae.population import Population
from vae.sources.functions import load_function, with_line


def build_network(definition: StudyDefinition, dataset: Dataset, folder: Path) -> Network:
    """The encoder and decoder of a definition.

    Args:
        definition: the study.
        dataset: for the shape of a row, and for whether values lie in [0, 1].
        folder: where a user's factory is looked for.

    Raises:
        DefinitionError: the user's factory fails, or what it gives does not fit.
    """
    with computing_in(definition.training.precision):
        network = _network(definition, dataset, folder)
    if _uses_dropout(definition) and not network.searched_dropouts():
        raise DefinitionError(
            [
                "encoder_dropout is searched or set, but the encoder holds no vae.layers.SearchedDropout layer; "
                "add one, or leave encoder_dropout out of [space] and [baselines]"
            ]
        )
    return network


def _network(definition: StudyDefinition, dataset: Dataset, folder: Path) -> Network:
    model = definition.model
    bounded = dataset.unit_interval and model.likelihood == "gaussian"
    output = "sigmoid" if bounded else "linear"
    if model.kind == "dense":
        return dense_network(
            dataset.shape,
            model.latent_dim,
            hidden=model.hidden or (),
            activation=model.activation,
            output_activation=output,
        )
    if model.kind == "conv":
        return conv_network(
            dataset.shape,
            model.latent_dim,
            filters=model.filters or (),
            hidden=model.hidden or (),
            activation=model.activation,
            output_activation=output,
        )
    return _user_network(definition, dataset, folder)


def _user_network(definition: StudyDefinition, dataset: Dataset, folder: Path) -> Network:
    kind = definition.model.kind
    try:
        factory = load_function(kind, folder)
    except DataProblem as error:
        raise DefinitionError([f"model.kind: {error}"]) from error
    try:
        return factory_network(factory, dataset.shape, definition.model.latent_dim)
    except Exception as error:
        raise DefinitionError([f"model.kind: {kind}: {with_line(error, folder)}"]) from error


def _uses_dropout(definition: StudyDefinition) -> bool:
    baselines = definition.baseline_hyperparameters().values()
    fixed = definition.space.fixed().get("encoder_dropout", 0)
    searched = "encoder_dropout" in definition.space.searched()
    return searched or fixed > 0 or any(settings.encoder_dropout > 0 for settings in baselines)


def build_population(definition: StudyDefinition, network: Network, dataset: Dataset, layout: Layout) -> Population:
    """A population that trains what the definition asks for."""
    splits = {name: rows for name, rows in dataset.splits.items() if len(rows)}
    return Population(
        network,
        splits,
        objective_of(definition),
        slots=layout.slots,
        together=layout.together,
        batch_size=definition.training.batch_size,
        clips_gradients=_clips_gradients(definition),
    )


def objective_of(definition: StudyDefinition) -> Objective:
    """Likelihood and reductions of a definition."""
    model = definition.model
    return Objective(
        likelihood=model.likelihood,
        reconstruction_reduction=model.reconstruction_reduction,
        kl_reduction=definition.study.kl_reduction,
    )


def _clips_gradients(definition: StudyDefinition) -> bool:
    """Whether any trial or baseline has a finite clipnorm."""
    fixed = definition.training.clipnorm
    given = [settings.clipnorm for settings in definition.baseline_hyperparameters().values()]
    return definition.space.clipnorm is not None or any(
        map(math.isfinite, [*given, math.inf if fixed is None else fixed])
    )
