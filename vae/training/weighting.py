"""The weighting of the KL against the reconstruction in a member's loss: by its settings, or a rule of its own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import tensorflow as tf

from klsearch.vae.networks.stacking import PACKET
from klsearch.vae.objective import Objective

# Of the least variance that is told apart from none: pixels in [0, 1] have steps of 1/255.
_VARIANCE_FLOOR = 1e-6
# Shao et al. 2020, section 5.3 and Image_generation/PID.py of their code, where β lies in [0, 1].
_PROPORTIONAL = 0.01
_INTEGRAL = 1e-4


class Terms(NamedTuple):
    """The terms of a step's loss.

    Attributes:
        error: reconstruction error of a row, summed over features, mean over rows: [k].
        reconstruction: the same under the study's reduction: [k].
        kl: KL of a row, mean over latents, mean over rows: [k].
        floored_kl: the same with each latent's at least its free nats: what the loss takes, [k].
        annealed: the KL weight that the members' settings give at this step: [k].
        features: D.
        latent_dim: d.
        objective: likelihood and reductions.
        known: values of a row that are known, mean over the batch: [k]; None where all D are.
    """

    error: tf.Tensor
    reconstruction: tf.Tensor
    kl: tf.Tensor
    floored_kl: tf.Tensor
    annealed: tf.Tensor
    features: int
    latent_dim: int
    objective: Objective
    known: tf.Tensor | None = None

    def loss(self, kl_weight: tf.Tensor) -> tf.Tensor:
        """Reconstruction + KL weight · KL under the study's reductions, [k]."""
        return self.reconstruction + kl_weight * self.floored_kl * self.objective.kl_scale(self.latent_dim)

    @property
    def unit_kl_weight(self) -> float:
        """The KL weight that stands for β = 1."""
        return self.objective.unit_kl_weight(self.features, self.latent_dim)


class WeighedLoss(NamedTuple):
    """A step's loss.

    Attributes:
        loss: [k].
        kl_weight: what the KL weighs in it, under the study's reductions: [k].
        memory: what the next step is to know, each [k].
    """

    loss: tf.Tensor
    kl_weight: tf.Tensor
    memory: list[tf.Tensor]


class Weighting(Protocol):
    """A rule that makes the loss of every member from its terms. Traced once."""

    @property
    def memories(self) -> int:
        """The number of values kept of each member from step to step; all 0 at a member's start."""

    def weigh(self, terms: Terms, memory: Sequence[tf.Tensor]) -> WeighedLoss:
        """The loss of one step, from its terms and what the last step left."""


@dataclass(frozen=True, slots=True)
class AnnealedWeight:
    """The KL weight of the members' settings, annealed: what the search tunes."""

    memories: ClassVar[int] = 0

    def weigh(self, terms: Terms, memory: Sequence[tf.Tensor]) -> WeighedLoss:
        """Reconstruction + w_t · KL."""
        del memory
        return WeighedLoss(terms.loss(terms.annealed), terms.annealed, [])


@dataclass(frozen=True, slots=True)
class OptimalVariance:
    """A Gaussian decoder of one variance, the best for each batch: the σ-VAE (Rybkin et al. 2021, section 4).

    The loss is the negative evidence lower bound in nats: D/2 · ln(2πσ²) + squared error / 2σ² + KL summed over
    latents, σ² the mean squared error over the batch's rows and features (at least 1e-6). To the gradient that is a KL
    weight of β = 2σ², which is the weight that it reports: nobody chooses it, and it falls as the error does.
    """

    memories: ClassVar[int] = 0

    def weigh(self, terms: Terms, memory: Sequence[tf.Tensor]) -> WeighedLoss:
        """The negative evidence lower bound at the batch's best variance."""
        del memory
        features = float(terms.features) if terms.known is None else terms.known
        # At the best variance the loss does not change with it, so no gradient is lost.
        variance = tf.stop_gradient(tf.maximum(terms.error / features, _VARIANCE_FLOOR))
        distortion = features / 2 * _elementwise(tf.math.log, 2 * math.pi * variance) + terms.error / (2 * variance)
        loss = distortion + terms.floored_kl * float(terms.latent_dim)
        return WeighedLoss(loss, 2 * variance * terms.unit_kl_weight, [])


@dataclass(frozen=True, slots=True)
class ControlledWeight:
    """A KL weight that a controller moves until the KL is where it should be: ControlVAE (Shao et al. 2020).

    With e the target less the batch's KL, β = K_p / (1 + exp e) + I, and I falls by K_i · e in each step; K_p = 0.01,
    K_i = 0.0001, and β lies in [0, 1], as in their image generation. I is kept in [0, 1] as well: else it winds up
    while β is at a bound, against which the paper's own rule can leave it stuck.

    Attributes:
        target: KL summed over latents, nats.
    """

    target: float
    memories: ClassVar[int] = 1

    def weigh(self, terms: Terms, memory: Sequence[tf.Tensor]) -> WeighedLoss:
        """Reconstruction + β · KL, β from this batch's KL and the integral of those before it."""
        error = self.target - tf.stop_gradient(terms.kl) * float(terms.latent_dim)
        integral = tf.clip_by_value(memory[0] - _INTEGRAL * error, 0.0, 1.0)
        beta = tf.clip_by_value(_PROPORTIONAL * _elementwise(tf.sigmoid, -error) + integral, 0.0, 1.0)
        kl_weight = beta * terms.unit_kl_weight
        return WeighedLoss(terms.loss(kl_weight), kl_weight, [integral])


def _elementwise(function: Callable[[tf.Tensor], tf.Tensor], values: tf.Tensor) -> tf.Tensor:
    """`function` of [k] values, computed by the same code for each whatever k is: see PACKET."""
    return function(tf.repeat(values[:, tf.newaxis], PACKET, axis=1))[:, 0]
