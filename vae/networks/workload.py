"""What one architecture asks of a machine, counted from its sizes alone, so that nothing needs to be built."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

IMAGE_KERNEL = 3
"""Pixels that a convolution of images spans along each axis."""
SERIES_KERNEL = 5
"""Steps that a convolution of series spans."""
_STRIDE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The size of an encoder and a decoder together.

    Attributes:
        multiply_adds: for one row forward through both; 0 for additions of biases and for activation functions.
        weights: trained numbers.
        activations: numbers that the layers with weights give for one row.
    """

    multiply_adds: int
    weights: int
    activations: int

    def __add__(self, other: "Workload") -> "Workload":
        return Workload(
            multiply_adds=self.multiply_adds + other.multiply_adds,
            weights=self.weights + other.weights,
            activations=self.activations + other.activations,
        )


_NOTHING = Workload(multiply_adds=0, weights=0, activations=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A recurrent layer of Keras: its name there, and what it is counted by.

    Attributes:
        layer: its class in `keras.layers`.
        gates: kernels of the input, and as many of the state.
        biases: for each gate.
    """

    layer: str
    gates: int
    biases: int


CELLS: Mapping[str, Cell] = {
    # Keras's is that of cuDNN, which resets the state after its product and so needs a bias for both.
    "gru": Cell(layer="GRU", gates=3, biases=2),
    "lstm": Cell(layer="LSTM", gates=4, biases=1),
}
"""By name: gated recurrent units (Cho et al. 2014), and long short-term memory (Hochreiter & Schmidhuber 1997)."""

DEFAULT_CELL = "gru"


def dense_workload(
    input_shape: Sequence[int], latent_dim: int, *, hidden: Sequence[int], condition_width: int = 0
) -> Workload:
    """The workload of `vae.networks.network.dense_network`, by the same arguments."""
    features = math.prod(input_shape)
    narrowest = hidden[0] if hidden else latent_dim + condition_width
    return _between(features, latent_dim, hidden, condition_width) + _dense(narrowest, features)


def conv_workload(
    input_shape: Sequence[int],
    latent_dim: int,
    *,
    filters: Sequence[int],
    hidden: Sequence[int],
    condition_width: int = 0,
) -> Workload:
    """The workload of `vae.networks.convolutional.conv_network`, by the same arguments."""
    image_shape = input_shape if len(input_shape) == 3 else (*input_shape, 1)
    return _convolutional(image_shape, latent_dim, filters, hidden, condition_width, kernel=IMAGE_KERNEL)


def conv1d_workload(
    input_shape: Sequence[int],
    latent_dim: int,
    *,
    filters: Sequence[int],
    hidden: Sequence[int] = (),
    condition_width: int = 0,
) -> Workload:
    """The workload of `vae.networks.convolutional.conv1d_network`, by the same arguments."""
    series_shape = input_shape if len(input_shape) == 2 else (*input_shape, 1)
    return _convolutional(series_shape, latent_dim, filters, hidden, condition_width, kernel=SERIES_KERNEL)


def recurrent_workload(
    input_shape: Sequence[int],
    latent_dim: int,
    *,
    hidden: Sequence[int],
    cell: str = DEFAULT_CELL,
    condition_width: int = 0,
) -> Workload:
    """The workload of `vae.networks.recurrent.recurrent_network`, by the same arguments."""
    length, channels = input_shape if len(input_shape) == 2 else (*input_shape, 1)
    count = partial(_recurrent, CELLS[cell], steps=length)
    encoding = [count(given, made) for given, made in pairwise([channels, *hidden])]
    latents = latent_dim + condition_width
    decoding = [count(given, made) for given, made in pairwise([latents, *reversed(hidden)])]
    heads = _dense(hidden[-1] + condition_width, 2 * latent_dim)
    last = _dense(hidden[0], channels)
    last = Workload(
        multiply_adds=last.multiply_adds * length, weights=last.weights, activations=last.activations * length
    )
    return sum([*encoding, *decoding], heads) + last


def _convolutional(
    shape: Sequence[int],
    latent_dim: int,
    filters: Sequence[int],
    hidden: Sequence[int],
    condition_width: int,
    *,
    kernel: int,
) -> Workload:
    """Of rows of places, along any axes, with channels on the last."""
    *places, channels = shape
    kernel = kernel ** len(places)
    total = _NOTHING
    for given, made in pairwise([channels, *filters]):
        places = [-(-size // _STRIDE) for size in places]
        total += _convolution(given, made, math.prod(places), math.prod(places), kernel)
    smallest = math.prod(places) * filters[-1]
    narrowest = hidden[0] if hidden else latent_dim + condition_width
    total += _between(smallest, latent_dim, hidden, condition_width) + _dense(narrowest, smallest)
    for given, made in pairwise([filters[-1], *reversed(filters)]):
        positions = math.prod(places)
        places = [_STRIDE * size for size in places]
        total += _convolution(given, made, positions, math.prod(places), kernel)
    return total + _convolution(filters[0], channels, math.prod(places), math.prod(places), kernel)


def _recurrent(cell: Cell, given: int, made: int, *, steps: int) -> Workload:
    """A recurrent layer, each of whose gates is of the input and of the state."""
    kernels, biases = cell.gates * made * (given + made), cell.gates * cell.biases * made
    return Workload(multiply_adds=steps * kernels, weights=kernels + biases, activations=steps * made)


def _between(features: int, latent_dim: int, hidden: Sequence[int], condition_width: int) -> Workload:
    """The encoder's dense layers from so many features, and the decoder's, but for its last; both are told as much."""
    features, latents = features + condition_width, latent_dim + condition_width
    narrowing = sum((_dense(given, made) for given, made in pairwise([features, *hidden])), _NOTHING)
    heads = _dense(hidden[-1] if hidden else features, 2 * latent_dim)
    widening = sum((_dense(given, made) for given, made in pairwise([latents, *reversed(hidden)])), _NOTHING)
    return narrowing + heads + widening


def _dense(given: int, made: int) -> Workload:
    return Workload(multiply_adds=given * made, weights=given * made + made, activations=made)


def _convolution(given: int, made: int, positions: int, outputs: int, kernel: int) -> Workload:
    """A convolution between channels.

    Args:
        given: channels in.
        made: channels out.
        positions: places at which its kernel is applied: outputs, or for a transposed one inputs.
        outputs: places at which it gives a number per channel.
        kernel: places that it spans.
    """
    weights = kernel * given * made
    return Workload(multiply_adds=weights * positions, weights=weights + made, activations=made * outputs)
