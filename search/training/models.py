"""The network and the population that a definition asks for."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from klsearch.search.layout import Layout
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import Method
from klsearch.studies.errors import DefinitionError
from klsearch.vae.data.datasets import DataProblem, Dataset
from klsearch.vae.data.readers.functions import load_function, with_line
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.conv1d import conv1d_network
from klsearch.vae.networks.kinds import KINDS
from klsearch.vae.networks.network import (
    Network,
    computing_in,
    conv_network,
    dense_network,
    factory_network,
    with_learned_columns,
)
from klsearch.vae.networks.recurrent import recurrent_network
from klsearch.vae.networks.stacking import initial_values
from klsearch.vae.quiet import stdout_to_stderr
from klsearch.vae.training.population import Population
from klsearch.vae.training.weighting import ControlledWeight, OptimalVariance, Weighting

_BUILDERS: Mapping[str, Callable[..., Network]] = {
    "dense": dense_network,
    "conv": conv_network,
    "conv1d": conv1d_network,
    "recurrent": recurrent_network,
}


def build_network(definition: StudyDefinition, dataset: Dataset, folder: Path) -> Network:
    """The encoder and decoder of a definition.

    Args:
        definition: the study.
        dataset: for the shape of a row, and for whether what is trained and chosen on lies in [0, 1].
        folder: where a user's factory is looked for.

    Raises:
        DefinitionError: the user's factory fails, or what it gives does not fit.
    """
    with computing_in(definition.training.precision):
        network = _network(definition, dataset, folder)
    if _uses_dropout(definition) and not network.searched_dropouts():
        raise DefinitionError(
            [
                "encoder_dropout is searched or set, but the encoder holds no klsearch.SearchedDropout layer; "
                "add one, or leave encoder_dropout out of [space] and [baselines]"
            ]
        )
    return network


def _network(definition: StudyDefinition, dataset: Dataset, folder: Path) -> Network:
    likelihood = definition.objective().likelihood
    network = _built(definition, dataset, folder, likelihood)
    return with_learned_columns(network, likelihood.column_parts)


def _built(definition: StudyDefinition, dataset: Dataset, folder: Path, likelihood: Likelihood) -> Network:
    """The network, which gives for each value what the likelihood has the decoder work out."""
    model, outputs = definition.model, len(likelihood.parts)
    activation = likelihood.output_activation(unit_interval=dataset.unit_interval)
    build = _BUILDERS.get(model.kind)
    if build is None:
        return _user_network(definition, dataset, folder, outputs)
    return build(
        dataset.shape,
        model.latent_dim,
        **model.sizes(),
        **({"activation": model.activation} if KINDS[model.kind].has_activation else {}),
        output_activation=activation,
        outputs=outputs,
        log_input=likelihood.log_input,
        condition_width=dataset.condition_width,
    )


def _user_network(definition: StudyDefinition, dataset: Dataset, folder: Path, outputs: int) -> Network:
    kind = definition.model.kind
    with stdout_to_stderr():
        try:
            factory = load_function(kind, folder)
        except DataProblem as error:
            raise DefinitionError([f"model.kind: {error}"]) from error
        try:
            network = factory_network(
                factory,
                dataset.shape,
                definition.model.latent_dim,
                outputs=outputs,
                condition_width=dataset.condition_width,
            )
            initial_values(network)  # which every trial draws again
            return network
        except (Exception, SystemExit) as error:
            raise DefinitionError([f"model.kind: {kind}: {with_line(error, folder)}"]) from error


def _uses_dropout(definition: StudyDefinition) -> bool:
    fixed = definition.space.fixed().get("encoder_dropout", 0)
    searched = "encoder_dropout" in definition.space.searched()
    return searched or fixed > 0 or any((given.encoder_dropout or 0) > 0 for given in definition.baselines.values())


def build_population(
    definition: StudyDefinition,
    network: Network,
    dataset: Dataset,
    layout: Layout,
    weighting: Weighting | None = None,
) -> Population:
    """A population that trains what the definition asks for, its members' KL weighed by their settings or by a rule."""
    splits = {name: rows for name, rows in dataset.splits.items() if len(rows)}
    return Population(
        network,
        splits,
        definition.objective(),
        conditions=dataset.conditions,
        slots=layout.slots,
        together=layout.together,
        batch_size=definition.training.batch_size,
        clips_gradients=clips_gradients(definition),
        weighting=weighting,
        schedule=definition.training.schedule(),
    )


def clips_gradients(definition: StudyDefinition) -> bool:
    """Tell whether any trial or baseline has a finite clipnorm."""
    given = [definition.training.clipnorm, *(baseline.clipnorm for baseline in definition.baselines.values())]
    return definition.space.clipnorm is not None or any(
        clipnorm is not None and math.isfinite(clipnorm) for clipnorm in given
    )


def weighting_of(definition: StudyDefinition, method: Method | None) -> Weighting | None:
    """The rule by which a method weighs the KL; None where the KL weight of its settings does.

    Args:
        definition: settled, for the middle of the band.
        method: of a baseline.
    """
    if method == "sigma":
        return OptimalVariance()
    if method == "control":
        thresholds, latents = definition.thresholds(), definition.model.latent_dim
        middle = sum(thresholds.kl_band) / 2
        return ControlledWeight(target=middle if thresholds.kl_reduction == "sum" else middle * latents)
    return None
