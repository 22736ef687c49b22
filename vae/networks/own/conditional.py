"""The network that trains a user's own conditional models, which are told something of each row as second input."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from klsearch.vae.data.rows import Rows
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.adoption import make_ready, search_dropouts
from klsearch.vae.networks.own.brought import Brought
from klsearch.vae.networks.own.changes import undo_changes
from klsearch.vae.networks.own.decoders import probe_decoder
from klsearch.vae.networks.own.heads import Heads, layer_behind
from klsearch.vae.networks.own.pairs import Pair


def adopt_conditional(
    pair: Pair,
    rows: Rows,
    condition: np.ndarray,
    latent_dim: int,
    *,
    likelihood: Likelihood = GAUSSIAN,
    searched_dropout: Sequence[str] | Literal["all"] = (),
) -> Network:
    """The network of a user's encoder and decoder that are told of a condition, taken to the letter.

    Args:
        pair: functional models of [rows, condition], which gives [z_mean, z_log_var], and of [z, condition].
        rows: those to be trained on, float32 [n, *shape]; NaN where a value is missing.
        condition: of them, float32 [n, c].
        latent_dim: d.
        likelihood: what the decoder's output is taken for.
        searched_dropout: names of the encoder's Dropout layers whose rate `encoder_dropout` shall be, or "all".

    Raises:
        ModelFaults: they would train, but not as their user means it.
        ValueError: they are not two such models that fit together.
    """
    for model in (pair.encoder, pair.decoder):
        undo_changes(model)
    network = Network(encoder=pair.encoder, decoder=pair.decoder, outputs=len(likelihood.parts))
    shape, width = rows.shape[1:], condition.shape[1]
    if network.input_shape != shape:
        raise ValueError(f"the encoder takes rows of shape {list(network.input_shape)}, not {list(shape)}.")
    if network.latent_dim != latent_dim:
        raise ValueError(f"the encoder has {network.latent_dim} latents, but latent_dim is {latent_dim}.")
    if network.condition_width != width:
        taken = f"a condition [n, {network.condition_width}]" if network.condition_width else "no condition"
        raise ValueError(f"the encoder takes {taken}, but data.condition gives [n, {width}].")
    layers = [layer_behind(output) for output in network.encoder.outputs]
    if None in layers:
        raise ValueError(
            "found no layer with a kernel to regularise behind an encoder output; let a Dense layer give z_mean and "
            "another z_log_var."
        )
    decoder = probe_decoder(network.decoder, condition)
    if decoder.is_sigmoid and likelihood.name == "bernoulli":
        raise ValueError("the decoder ends in a sigmoid, which 'bernoulli' has already; let it end in no activation.")
    heads = Heads(encoder=network.encoder, layers=(layers[0], layers[1]), places=(0, 1), notes=())
    notes, cautions = make_ready(heads, decoder, rows, likelihood, condition)
    notes += search_dropouts(heads, pair.encoder, searched_dropout)
    brought = Brought(
        encoder=pair.encoder,
        decoder=pair.decoder,
        places=heads.places,
        kernels=heads.kernels,
        logits=None,
        notes=(*pair.notes, *notes),
        cautions=tuple(cautions),
        origin=pair.origin,
    )
    return replace(network, brought=brought)
