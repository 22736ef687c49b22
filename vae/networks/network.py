"""An encoder and a decoder as ordinary Keras models, of any kind; and the dense ones."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import keras

from klsearch.vae.data.readers.raw import Column
from klsearch.vae.layers import SearchedDropout, dense
from klsearch.vae.networks.blocks import (
    activated,
    condition_inputs,
    latent_heads,
    logged,
    model_of,
    narrowing,
    output_shape,
    shaped,
    told,
    widening,
)
from klsearch.vae.networks.own.brought import Brought
from klsearch.vae.networks.own.calling import output_of, without_ones
from klsearch.vae.networks.own.heads import layer_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One architecture, built once; every member holds its own values of these models' variables.

    Attributes:
        encoder: rows [n, *shape] → [μ, raw z_log_var], each [n, d]; a conditional one takes [rows, condition [n, c]].
        decoder: z [n, d], or [z, condition], → what the likelihood makes a reconstruction of, [n, *shape], or
            [n, *shape, outputs] where each value has several numbers.
        outputs: how many numbers the decoder gives for each value.
        table: the columns that the places of a row stand for; None where rows are no table's.
        brought: a user's own models, which these two are views of; None for ours.

    Raises:
        ValueError: the models do not fit together; the message says which output and what was expected.
    """

    encoder: keras.Model
    decoder: keras.Model
    outputs: int = 1
    table: tuple[Column, ...] | None = None
    brought: Brought | None = None

    def __post_init__(self) -> None:
        _check_inputs("encoder", self.encoder)
        _check_inputs("decoder", self.decoder)
        heads = output_of(self.encoder)
        if not isinstance(heads, list | tuple) or len(heads) != 2:
            count = len(self.encoder.outputs)
            raise ValueError(f"the encoder must give a list of two outputs, [z_mean, z_log_var], but gives {count}.")
        shapes = [list(head.shape) for head in heads]
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] is None:
            raise ValueError(f"the encoder's outputs must both have shape [n, latent_dim], but have {shapes}.")
        wanted = [shapes[0], *([[None, self.condition_width]] if self.condition_width else [])]
        taken = [list(tensor.shape) for tensor in self.decoder.inputs]
        if taken != wanted:
            latents = f"[n, {self.latent_dim}]"
            what = f"{latents} and the condition [n, {self.condition_width}]" if self.condition_width else latents
            given = taken[0] if len(taken) == 1 else taken
            raise ValueError(f"the decoder must take {what}, but takes {given}.")
        if not isinstance(output_of(self.decoder), keras.KerasTensor):
            raise ValueError(f"the decoder must give one tensor, but gives a {type(output_of(self.decoder)).__name__}.")
        made, expected = list(self.decoder.output_shape[1:]), list(output_shape(self.input_shape, self.outputs))
        # Flat, or with axes of length 1, the values come in the same order; in another shape they might not.
        if without_ones(made) not in (without_ones(expected), [math.prod(expected)]):
            what = "rows" if self.outputs == 1 else f"{self.outputs} numbers for each value, rows"
            raise ValueError(f"the decoder must give {what} of shape {expected}, but gives {made}.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.encoder.inputs[0].shape[1:])

    @property
    def condition_width(self) -> int:
        """c, how many numbers are told of each row; 0 where the network is not conditional."""
        return int(self.encoder.inputs[1].shape[1]) if len(self.encoder.inputs) > 1 else 0

    @property
    def latent_dim(self) -> int:
        """d, the number of latents."""
        return int(self.encoder.outputs[0].shape[1])

    def latent_head_kernels(self) -> list[keras.Variable]:
        """The kernels of the layers that give μ and z_log_var; ours are found through the Keras graph."""
        if self.brought is not None:
            return list(self.brought.kernels)
        return [layer_behind(output).kernel for output in self.encoder.outputs]

    def searched_dropouts(self) -> list[SearchedDropout]:
        """The encoder's layers on which `encoder_dropout` acts."""
        layers = self.encoder._flatten_layers(include_self=False)
        return [layer for layer in layers if isinstance(layer, SearchedDropout)]


def _check_inputs(name: str, model: keras.Model) -> None:
    """Refuse a model that is not built of one input of a known shape, or of two where the second is a condition."""
    inputs = getattr(model, "inputs", None)
    shapes = [list(tensor.shape) for tensor in inputs] if inputs else []
    if not 1 <= len(shapes) <= 2 or any(None in shape[1:] for shape in shapes):
        raise ValueError(
            f"the {name} must be a functional or sequential Keras model with one input of fixed shape, and a second "
            f"only for a condition, but {model.name!r} has {shapes or 'none yet'}."
        )
    if len(shapes) == 2 and len(shapes[1]) != 2:
        raise ValueError(f"the {name}'s second input is the condition, [n, numbers], but has shape {shapes[1]}.")


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers made in the block compute in this Keras dtype policy, unless they name another.

    Under "mixed_bfloat16" products take 16 bits of each factor, and variables keep 32. The latent heads and the output
    activation of built-in networks stay in float32: 8 bits of z_log_var or of a pixel are too few.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def dense_network(
    input_shape: tuple[int, ...],
    latent_dim: int,
    *,
    hidden: Sequence[int],
    activation: str = "relu",
    output_activation: str = "linear",
    outputs: int = 1,
    log_input: bool | tuple[bool, ...] = False,
    condition_width: int = 0,
) -> Network:
    """A dense VAE: input-hidden…-latent-…hidden-input, searched dropout after each hidden layer of the encoder.

    Args:
        input_shape: shape of one row; images are flattened inside.
        latent_dim: d, the number of latents.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        activation: of the hidden layers.
        output_activation: of the decoder's last layer; see `Likelihood.output_activation`.
        outputs: how many numbers the decoder works out for each value.
        log_input: whether the encoder takes ln(1 + x) first, or of which columns.
        condition_width: how many numbers are told of each row, to encoder and decoder.
    """
    inputs = keras.Input(input_shape)
    h = logged(inputs, log_input)
    h = keras.layers.Flatten()(h) if len(input_shape) > 1 else h
    condition = condition_inputs(condition_width)
    heads = latent_heads(narrowing(told(h, condition), hidden, activation), latent_dim)
    encoder = model_of(inputs, condition, heads, "encoder")
    latents, condition = keras.Input((latent_dim,)), condition_inputs(condition_width)
    h = widening(told(latents, condition), hidden, activation)
    h = activated(h, output_activation, partial(dense, math.prod(input_shape) * outputs))
    h = shaped(h, input_shape, outputs)
    return Network(encoder=encoder, decoder=model_of(latents, condition, h, "decoder"), outputs=outputs)


def with_learned_columns(network: Network, starts: Mapping[str, float]) -> Network:
    """The network whose decoder gives more numbers for each value: learned for its place, the same for every row.

    They are the biases of dense layers whose input is always 0, so that they are trained, kept and exported as all
    weights are, and the decoder stays one of Keras's own layers.

    Args:
        network: any.
        starts: what each begins with, by name; without any the network stays as it is.
    """
    if not starts:
        return network
    latents, places = network.decoder.inputs[0], math.prod(network.input_shape)
    nothing = keras.layers.Rescaling(0.0, dtype="float32")(latents)
    given = keras.layers.Reshape((*network.input_shape, network.outputs), dtype="float32")(output_of(network.decoder))
    learned = []
    for name, start in starts.items():
        biases = dense(
            places,
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(start),
            name=name,
            dtype="float32",
        )(nothing)
        learned.append(keras.layers.Reshape((*network.input_shape, 1), dtype="float32")(biases))
    output = keras.layers.Concatenate(dtype="float32")([given, *learned])
    decoder = model_of(latents, network.decoder.inputs[1:], output, "decoder")
    brought = None if network.brought is None else replace(network.brought, decoder=decoder)
    return replace(network, decoder=decoder, outputs=network.outputs + len(starts), brought=brought)
