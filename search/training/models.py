"""The network and the population that a definition asks for."""

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from klsearch.search.layout import Layout
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import Method
from klsearch.studies.errors import DefinitionError
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.host.own_code import CodeProblem, is_function, load_object, with_line
from klsearch.vae.host.quiet import stdout_to_stderr
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.convolutional import conv1d_network, conv_network
from klsearch.vae.networks.kinds import KINDS
from klsearch.vae.networks.network import (
    Network,
    computing_in,
    dense_network,
    with_learned_columns,
)
from klsearch.vae.networks.own.adoption import ModelFaults, adopt
from klsearch.vae.networks.own.fresh import making_models
from klsearch.vae.networks.own.pairs import find_pair, load_saved
from klsearch.vae.networks.recurrent import recurrent_network
from klsearch.vae.networks.stacking import initial_values
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
    own = definition.model.is_own
    with computing_in(definition.training.precision), making_models() if own else nullcontext():
        network = _network(definition, dataset, folder)
    _check_dropout(definition, network)
    return network


def _network(definition: StudyDefinition, dataset: Dataset, folder: Path) -> Network:
    likelihood = definition.objective().likelihood.for_rows(dataset.shape, dataset.table)
    network = replace(_built(definition, dataset, folder, likelihood), table=dataset.table)
    return with_learned_columns(network, likelihood.column_parts)


def _built(definition: StudyDefinition, dataset: Dataset, folder: Path, likelihood: Likelihood) -> Network:
    """The network, which gives for each value what the likelihood has the decoder work out."""
    model, outputs = definition.model, len(likelihood.parts)
    activation = likelihood.output_activation(unit_interval=dataset.unit_interval)
    build = _BUILDERS.get(model.kind)
    if build is None:
        return _user_network(definition, dataset, folder)
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


def _user_network(definition: StudyDefinition, dataset: Dataset, folder: Path) -> Network:
    """The network of the user's own models, which may be a file, or what a module of theirs holds or makes."""
    model = definition.model
    with stdout_to_stderr():
        try:
            named, beside = _load_own(model.kind, folder)
        except CodeProblem as error:
            raise DefinitionError([f"model.kind: {error}"]) from error
        try:
            network = _own_network(definition, dataset, named, beside)
            initial_values(network)  # which every trial draws again
            return network
        except ModelFaults as error:
            raise DefinitionError([f"model.kind: {model.kind}: {fault}" for fault in error.faults]) from error
        except (Exception, SystemExit) as error:
            raise DefinitionError([f"model.kind: {model.kind}: {with_line(error, folder)}"]) from error


def _own_network(definition: StudyDefinition, dataset: Dataset, named: Any, beside: Mapping[str, Any]) -> Network:
    model, likelihood = definition.model, definition.objective().likelihood
    return adopt(
        find_pair(named, dataset.shape, model.latent_dim, beside, dataset.condition_width),
        dataset.train,
        model.latent_dim,
        condition=None if dataset.conditions is None else dataset.conditions["train"],
        likelihood=likelihood,
        latent_heads=model.latent_heads or (),
        searched_dropout=model.searched_dropout or (),
    )


def _load_own(kind: str, folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """What a kind names, and what its module holds besides.

    Raises:
        CodeProblem: it is not there, or cannot be loaded.
    """
    if not is_function(kind):
        return load_saved(folder / Path(kind).expanduser()), {}
    found = load_object(kind, folder)
    module = kind.rpartition(":")[0].removesuffix(".py").rpartition("/")[2]
    return found, vars(sys.modules[module])


def _check_dropout(definition: StudyDefinition, network: Network) -> None:
    """Refuse an `encoder_dropout` that would act on nothing, and layers whose rate nothing would set."""
    uses = _uses_dropout(definition)
    if uses and not network.searched_dropouts():
        raise DefinitionError([f"space.encoder_dropout: {_without_dropout(network)}"])
    if not uses and definition.model.searched_dropout:
        raise DefinitionError(
            [
                "model.searched_dropout: encoder_dropout is neither searched nor set, so that these layers would drop "
                "nothing; add it to [space], or leave searched_dropout out"
            ]
        )


def _without_dropout(network: Network) -> str:
    layers = network.encoder._flatten_layers(include_self=False)
    own = [layer.name for layer in layers if isinstance(layer, keras.layers.Dropout)]
    words = "is searched or set, but the encoder holds no layer that it acts on"
    if own:
        return f'{words}; name its Dropout layers in model.searched_dropout = "all" ({", ".join(own)}), or remove it'
    return f'{words}; give it a keras.layers.Dropout and set model.searched_dropout = "all", or remove it'


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
        learning=definition.training.learning(),
        xla=layout.xla,
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
