"""What would train without a word and come to nothing: one line each, with the way out."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from klsearch.vae.data.cautions import Caution
from klsearch.vae.data.rows import Rows, extremes
from klsearch.vae.likelihoods.gaussian import Gaussian
from klsearch.vae.likelihoods.likelihood import Likelihood, LocationLikelihood
from klsearch.vae.networks.own.calling import alone, call_on
from klsearch.vae.networks.own.changes import note_change, variables_kept
from klsearch.vae.networks.own.decoders import Decoder, add_up
from klsearch.vae.networks.own.heads import Heads, steady_places
from klsearch.vae.networks.own.probe import Probe, as_array, has_bias, probed_inputs

_PROBED_ROWS = 16
_BEYOND = 1e-3  # of the data's range: rounding of a scaler
_ROUNDING = 1e-3  # of shares that add up to 1
_RAISED = 4.0  # z_log_var by that: a sample's logarithm of a standard deviation grows by half of it
_AS_LOG_DEVIATION = 0.5  # how near to all of it is too near


def find_faults(
    heads: Heads,
    decoder: Decoder,
    rows: Rows,
    likelihood: Likelihood,
    condition: np.ndarray | None = None,
) -> tuple[list[str], list[Caution]]:
    """What is wrong with a user's models, and what is not but may surprise.

    Args:
        heads: the encoder's.
        decoder: as it was brought.
        rows: those to be trained on, float32 [n, *shape]; NaN where a value is missing.
        likelihood: of the rows.
        condition: of the rows, float32 [n, c], where the models are told of one.
    """
    if refused := [*_of_layers(heads.encoder), *_of_layers(decoder.model)]:
        return refused, []
    wrong = list(_of_decoder(decoder, rows, likelihood))
    if not heads.layers:
        return wrong, []
    probe = Probe(heads.encoder, *(values[:_PROBED_ROWS] for values in probed_inputs(rows, condition)))
    mean, log_var = (probe.reach(layer, place) for place, layer in enumerate(heads.layers))
    wrong = [*_of_mean(mean), *_of_log_var(log_var), *wrong]
    return wrong, [*_bounded_mean(mean), *_bounded_log_var(log_var)]


def _of_layers(model: keras.Model) -> Iterator[str]:
    for layer in model._flatten_layers(include_self=False):
        if getattr(layer, "stateful", False):
            yield (
                f"the layer {layer.name!r} is stateful, so that a batch would go on from the last: set stateful=False"
            )


def _of_mean(reach: tuple[float, float]) -> Iterator[str]:
    low, high = reach
    if low >= 0 or high <= 0:
        yield (
            f"z_mean stays {_range(low, high)} (a ReLU, softplus or sigmoid at its end), so that no posterior can lie "
            "around the prior's 0: let a Dense layer without activation give it"
        )


def _of_log_var(reach: tuple[float, float]) -> Iterator[str]:
    low, high = reach
    if low >= 0:
        yield (
            f"the second output stays {_range(low, high)}: it looks like a variance or a standard deviation (exp, "
            "softplus, or a ReLU at its end), where its logarithm is asked for: let a Dense layer without activation "
            "give z_log_var"
        )


def _bounded_mean(reach: tuple[float, float]) -> Iterator[Caution]:
    low, high = reach
    if low < 0 < high and (math.isfinite(low) or math.isfinite(high)):
        yield Caution(
            f"model.kind: z_mean stays {_range(low, high)} (a tanh or a clip at its end), which bounds the KL from "
            "outside the search; let a Dense layer without activation give it",
            "bounded-mean",
        )


def _bounded_log_var(reach: tuple[float, float]) -> Iterator[Caution]:
    low, high = reach
    if low < 0 and (math.isfinite(low) or math.isfinite(high)):
        yield Caution(
            f"model.kind: z_log_var stays {_range(low, high)} by a clip or tanh of your own: clip_low and clip_high "
            "beyond that have no effect; take it out, for the search clips",
            "own-clip",
        )


def _of_decoder(decoder: Decoder, rows: Rows, likelihood: Likelihood) -> Iterator[str]:
    low, high = decoder.reach
    least, greatest = map(float, extremes(rows))
    margin = _BEYOND * (greatest - least)
    bounded = math.isfinite(low) or math.isfinite(high)
    takes_unit = _gives_mean(likelihood) or likelihood.name == "bernoulli"  # elsewhere no end in [0, 1] is the way out
    if takes_unit and decoder.adds_up and not add_up(rows, decoder.adds_up, within=_ROUNDING):
        yield (
            "the decoder ends in a softmax, so that a row's values add up to 1, which the data's do not: end it in a "
            "sigmoid, or in no activation"
        )
    elif decoder.is_sigmoid and likelihood.name == "bernoulli":
        return
    elif bounded and not _gives_mean(likelihood):
        yield (
            f"the decoder gives only values {_range(low, high)}, but '{likelihood.name}' takes "
            f"{likelihood.output_name}: end it in no activation"
        )
    elif least < low - margin or greatest > high + margin:
        yield (
            f"the decoder gives only values {_range(low, high)}, but the training rows reach from {least:.3g} to "
            f"{greatest:.3g}: end it in no activation, or set data.scaling = 'minmax' for values in [0, 1]"
        )


def _gives_mean(likelihood: Likelihood) -> bool:
    """Whether the decoder gives the reconstruction itself."""
    return isinstance(likelihood, Gaussian | LocationLikelihood) and len(likelihood.parts) == 1


def _range(low: float, high: float) -> str:
    """An interval in words."""
    if math.isfinite(low) and math.isfinite(high):
        return f"within {low:g} to {high:g}"
    return f"at or above {low:g}" if math.isfinite(low) else f"at or below {high:g}"


def uncopied_layers(*models: keras.Model) -> list[Caution]:
    """Warn of layers that do not say what they are made with, which an export must copy and save."""
    found = []
    for layer in (layer for model in models for layer in model._flatten_layers(include_self=False)):
        try:
            layer.get_config()
        except NotImplementedError:
            found.append(
                Caution(
                    f"model.kind: the winner cannot be exported: {type(layer).__qualname__} has arguments that Keras "
                    "cannot save; give it a get_config() that names them",
                    "no-get-config",
                )
            )
    return found


def own_losses(encoder: keras.Model, inputs: Sequence[np.ndarray]) -> tuple[list[str], list[Caution]]:
    """Silence what layers of the encoder add to the loss where that is a KL: its weight is put on from outside.

    Args:
        encoder: gives μ and raw z_log_var.
        inputs: what it takes, float32 [n, …] each: rows, and a condition if it is told of one.

    Returns:
        One line for each of these layers, and a caution for each whose loss stays.
    """
    notes, cautions = [], []
    for layer, shares in _added_losses(encoder, inputs).items():
        name = f"{layer.name!r} ({type(layer).__name__})"
        if np.ptp(shares) <= 1e-2 * np.max(np.abs(shares)):
            layer.__dict__["add_loss"] = _add_nothing
            note_change(layer, partial(layer.__dict__.pop, "add_loss", None))
            notes.append(
                f"the encoder's layer {name} adds a KL of its own (add_loss), which is left out: the KL weight that is "
                "searched would not act on it"
            )
        else:
            cautions.append(
                Caution(
                    f"model.kind: the encoder's layer {name} adds a loss of its own (add_loss), which stays in every "
                    "training beside the searched KL weight: it is no fixed multiple of the KL of z_mean and "
                    "z_log_var; if it is a KL, worked out from samples say, take it out",
                    "own-loss",
                )
            )
    return notes, cautions


def own_sample(encoder: Any, heads: Heads, given: Sequence[np.ndarray]) -> list[Caution]:
    """Warn of a sample that scatters with exp(z_log_var), where klsearch draws with exp(z_log_var / 2).

    Args:
        encoder: as it was brought.
        heads: where z_mean and z_log_var come from.
        given: rows, and their condition if the encoder is told of one, float32 [n, …] each.
    """
    if not heads.layers or heads.places is None or not has_bias(heads.layers[1]):
        return []
    inputs, output = call_on(encoder, *(values.shape[1:] for values in given))
    outputs = keras.tree.flatten(output)
    if len(outputs) < 3:
        return []
    probe = Probe(keras.Model(alone(inputs), outputs), *given)
    (mean, log_var), layer = heads.places, heads.layers[1]
    before, after = probe.outputs(), probe.outputs({id(layer.bias): layer.bias.value + _RAISED})
    if not probe.moves(layer)[log_var]:
        return []
    with variables_kept(encoder):
        still = steady_places(encoder, given)
    for place in set(range(len(before))) - {*still, mean, log_var}:
        if before[place].shape == before[mean].shape:
            spreads = [float(np.std(values[place] - values[mean])) for values in (before, after)]
            if min(spreads) > 0 and abs(np.log(spreads[1] / spreads[0]) - _RAISED) < _AS_LOG_DEVIATION:
                return [
                    Caution(
                        f"model.kind: the encoder's own sample scatters with exp of {layer.name!r}, which is taken for "
                        "a log-variance; if it is the logarithm of a standard deviation, give twice that",
                        "log-deviation",
                    )
                ]
    return []


def own_regularizers(*models: keras.Model) -> list[Caution]:
    """Warn of regularizers of the user's own, which stay in the loss beside the L2 that is searched."""
    layers = [layer for model in models for layer in model._flatten_layers(include_self=False)]
    paths = [
        variable.path
        for model in models
        for variable in model.trainable_variables
        if _regularizer(variable) is not None
    ]
    paths += [f"the output of {layer.name}" for layer in layers if layer.activity_regularizer is not None]
    if not paths:
        return []
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return [
        Caution(
            f"model.kind: the regularizer of {paths[0]}{others} stays in every training's loss beside the l2 that is "
            "searched; take it out, unless it shall",
            "own-regularizer",
        )
    ]


def _regularizer(variable: keras.Variable) -> keras.regularizers.Regularizer | None:
    return getattr(variable, "regularizer", None)


def _add_nothing(loss: object) -> None:
    del loss


def _added_losses(encoder: keras.Model, inputs: Sequence[np.ndarray]) -> dict[keras.layers.Layer, list[float]]:
    """For each layer that adds losses, those over the KL of the encoder's outputs, on different batches of one size."""
    size = min(_PROBED_ROWS, len(inputs[0]) // 3)
    found: dict[int, tuple[keras.layers.Layer, list[float]]] = {}
    with variables_kept(encoder):
        for first in range(0, 3 * size, size):
            called = encoder(alone([values[first : first + size] for values in inputs]), training=True)
            mean, log_var = (as_array(head) for head in called)
            kl = float(np.sum(np.exp(log_var) + mean**2 - 1 - log_var))
            for layer in encoder._flatten_layers():
                if layer._losses and layer.activity_regularizer is None:
                    total = float(sum(np.sum(as_array(loss)) for loss in layer._losses))
                    found.setdefault(id(layer), (layer, []))[1].append(total / kl)
    return dict(found.values())
