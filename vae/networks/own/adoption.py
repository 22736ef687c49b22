"""The network that trains a user's own encoder and decoder, as they are."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from klsearch.vae.data.cautions import Caution
from klsearch.vae.data.rows import Rows
from klsearch.vae.layers import SearchedDropout, keep_rate, search_rate
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.brought import Brought
from klsearch.vae.networks.own.changes import note_change, undo_changes
from klsearch.vae.networks.own.decoders import Decoder, take_decoder, take_logits
from klsearch.vae.networks.own.faults import find_faults, own_losses, own_regularizers, own_sample, uncopied_layers
from klsearch.vae.networks.own.fresh import forget_training, names_beside
from klsearch.vae.networks.own.heads import Heads, names_of, take_heads
from klsearch.vae.networks.own.pairs import Pair
from klsearch.vae.networks.own.probe import probed_inputs


class ModelFaults(ValueError):
    """Faults of a user's models, each of which would train without a word and come to nothing.

    Attributes:
        faults: one line each.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def adopt(
    pair: Pair,
    rows: Rows,
    latent_dim: int,
    *,
    condition: np.ndarray | None = None,
    likelihood: Likelihood = GAUSSIAN,
    latent_heads: Sequence[str] = (),
    searched_dropout: Sequence[str] | Literal["all"] = (),
) -> Network:
    """The network of a user's encoder and decoder.

    Args:
        pair: the models.
        rows: those to be trained on, float32 [n, *shape]; NaN where a value is missing.
        latent_dim: d.
        condition: of the rows, float32 [n, c], where the models take [rows, condition] and [z, condition].
        likelihood: what the decoder's output is taken for.
        latent_heads: names of two outputs or layers of the encoder, z_mean's and z_log_var's; empty to find them.
        searched_dropout: names of the encoder's Dropout layers whose rate `encoder_dropout` shall be, or "all".

    Raises:
        ModelFaults: they would train, but not as their user means it.
        ValueError: they do not fit together, or cannot be understood.
    """
    for model in (pair.encoder, pair.decoder):
        undo_changes(model)
    with names_beside(pair.encoder, pair.decoder):
        return _adopt(pair, rows, latent_dim, condition, likelihood, latent_heads, searched_dropout)


def _adopt(
    pair: Pair,
    rows: Rows,
    latent_dim: int,
    condition: np.ndarray | None,
    likelihood: Likelihood,
    latent_heads: Sequence[str],
    searched_dropout: Sequence[str] | Literal["all"],
) -> Network:
    heads = take_heads(pair.encoder, probed_inputs(rows, condition), latent_heads)
    found = int(heads.encoder.outputs[0].shape[1])
    if found != latent_dim:
        raise ValueError(f"the encoder has {found} latents, but latent_dim is {latent_dim}.")
    decoder = take_decoder(pair.decoder, latent_dim, condition)
    changes, cautions = _make_ready(heads, decoder, rows, likelihood, condition)
    cautions += own_sample(pair.encoder, heads, probed_inputs(rows, condition))
    notes = [*pair.notes, *heads.notes, *changes]
    logits = take_logits(decoder) if decoder.is_sigmoid and likelihood.name == "bernoulli" else None
    notes += [] if logits is None else [logits.note]
    notes += _search_dropouts(heads, pair.encoder, searched_dropout)
    brought = Brought(
        encoder=pair.encoder,
        decoder=pair.decoder,
        places=heads.places,
        kernels=heads.kernels,
        logits=logits,
        notes=tuple(notes),
        cautions=tuple(cautions),
        origin=pair.origin,
    )
    trained = decoder.model if logits is None else logits.model
    return Network(encoder=heads.encoder, decoder=trained, outputs=len(likelihood.parts), brought=brought)


def _make_ready(
    heads: Heads, decoder: Decoder, rows: Rows, likelihood: Likelihood, condition: np.ndarray | None
) -> tuple[list[str], list[Caution]]:
    """Refuse models that would train and come to nothing, and take from them a KL of their own and what they learned.

    Args:
        heads: the encoder's.
        decoder: as it was brought.
        rows: those to be trained on, float32 [n, *shape]; NaN where a value is missing.
        likelihood: what the decoder's output is taken for.
        condition: of the rows, float32 [n, c], where the models are told of one.

    Returns:
        What was taken from them, one line each, and what may surprise.

    Raises:
        ModelFaults: they would train, but not as their user means it.
        ValueError: they share variables.
    """
    _check_apart(heads.encoder, decoder.model)
    wrong, cautions = find_faults(heads, decoder, rows, likelihood, condition)
    if wrong:
        raise ModelFaults(wrong)
    notes, staying = own_losses(heads.encoder, probed_inputs(rows, condition))
    learned = [path for model in (heads.encoder, decoder.model) for path in forget_training(model)]
    if learned:
        notes.append(
            f"comes with trained weights ({learned[0]}{' and others' if len(learned) > 1 else ''}): every trial starts "
            "afresh from the layers' initializers, but for layers with trainable = False"
        )
    networks = heads.encoder, decoder.model
    return notes, [*cautions, *staying, *own_regularizers(*networks), *uncopied_layers(*networks)]


def _check_apart(encoder: keras.Model, decoder: keras.Model) -> None:
    """Refuse models that share variables: each is given its own values."""
    decoders = {id(variable) for variable in decoder.variables}
    shared = [variable.path for variable in encoder.variables if id(variable) in decoders]
    if shared:
        raise ValueError(f"encoder and decoder share {shared[0]!r}; each must have variables of its own.")


def _search_dropouts(heads: Heads, encoder: Any, named: Sequence[str] | Literal["all"]) -> list[str]:
    """Let `encoder_dropout` be the rate of the encoder's Dropout layers of these names.

    Returns:
        A line that says so, if there are any.

    Raises:
        ValueError: there is none of a name.
    """
    layers = [
        layer for layer in heads.encoder._flatten_layers(include_self=False) if type(layer) is keras.layers.Dropout
    ]
    known = {name: layer for layer in layers for name in names_of(encoder, layer)}
    unknown = [] if named == "all" else [name for name in named if name not in known]
    if unknown or (named == "all" and not layers):
        there = ", ".join(names_of(encoder, layer)[0] for layer in layers)
        missing = f"no Dropout layer {unknown[0]!r}" if unknown else "no Dropout layer"
        raise ValueError(
            f"the encoder holds {missing} for model.searched_dropout{f'; it has {there}' if there else ''}."
        )
    chosen = layers if named == "all" else [known[name] for name in named]
    for layer in chosen:
        if not isinstance(layer, SearchedDropout):  # two names may be one layer's
            note_change(layer, partial(keep_rate, search_rate(layer)))
    if not chosen:
        return []
    return [f"encoder_dropout is the rate of {', '.join(names_of(encoder, layer)[0] for layer in chosen)}"]
