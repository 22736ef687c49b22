"""What a trained member is worth on one split."""

from dataclasses import dataclass, fields

import numpy as np

# Raised when a measure begins to mean something else: then it is not comparable with what was stored before. One that
# is only added changes nothing.
MEASURES_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """Measures of one member's last weights on one split: dropout off, posterior samples from a fixed seed.

    Attributes:
        reconstruction: mean over rows, under the study's reduction.
        unexplained: deviance over that of predicting the training mean; 0 perfect, 1 no better than the mean.
        elbo: −(distortion + `kl_sum`) in nats at KL weight 1; the higher the better, comparable within one study.
        active_units: latents whose posterior mean varies over rows by at least 0.01 (Burda et al. 2016).
        clip_share_low: share of (row, latent) whose raw z_log_var lies at or below the lower bound.
        clip_share_high: the same at or above the upper bound.
        kl_mean_part: ½μ² per latent, mean over rows, nats, shape [d].
        kl_variance_part: ½(e^lv − 1 − lv) per latent, mean over rows, nats, shape [d]; the only part clipping acts on.
        prior_mismatch: KL of the aggregate posterior's Gaussian fit to the prior per latent, nats, shape [d].

    Raises:
        ValueError: the per-latent arrays differ in shape.
    """

    reconstruction: float
    unexplained: float
    elbo: float
    active_units: int
    clip_share_low: float
    clip_share_high: float
    kl_mean_part: np.ndarray
    kl_variance_part: np.ndarray
    prior_mismatch: np.ndarray

    def __post_init__(self) -> None:
        for name in LATENT_NAMES:
            shape = getattr(self, name).shape
            if shape != (self.latent_dim,):
                raise ValueError(f"{name} must have shape [d] with d={self.latent_dim}, but has {list(shape)}.")

    @property
    def latent_dim(self) -> int:
        """d, the number of latents."""
        return int(self.kl_mean_part.shape[0])

    @property
    def kl_per_latent(self) -> np.ndarray:
        """KL to the prior per latent, mean over rows, nats, shape [d]."""
        return np.asarray(self.kl_mean_part + self.kl_variance_part)

    @property
    def kl(self) -> float:
        """KL to the prior, mean over latents, nats, of the last weights."""
        return float(np.mean(self.kl_per_latent))

    @property
    def clip_share(self) -> float:
        """The larger of the two clip shares, which the *clipping* gate judges; NaN if either is."""
        return float(np.maximum(self.clip_share_low, self.clip_share_high))


LATENT_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Measures) if field.type is np.ndarray)
SCALAR_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Measures) if field.type is float)
