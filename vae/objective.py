"""How the loss is put together, and what a KL weight means under it."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from klsearch.vae.data.readers.raw import Column
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.likelihood import Likelihood


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """How the loss is put together.

    Attributes:
        likelihood: of a row given its latents.
        reconstruction_reduction: "sum" over features, or their "mean".
        kl_reduction: "mean" over latents, or their "sum".
    """

    likelihood: Likelihood = GAUSSIAN
    reconstruction_reduction: Literal["sum", "mean"] = "sum"
    kl_reduction: Literal["mean", "sum"] = "mean"

    def for_rows(self, shape: tuple[int, ...], table: tuple[Column, ...] | None = None) -> Self:
        """The same for rows of a shape, or of a table's columns, which may say something about their likelihood."""
        return replace(self, likelihood=self.likelihood.for_rows(shape, table))

    def reconstruction_scale(self, features: int) -> float:
        """What a row's error, summed over its `features`, is multiplied by."""
        return 1.0 if self.reconstruction_reduction == "sum" else 1.0 / features

    def kl_scale(self, latent_dim: int) -> float:
        """What the mean KL over `latent_dim` latents is multiplied by."""
        return 1.0 if self.kl_reduction == "mean" else float(latent_dim)

    def unit_kl_weight(self, features: int, latent_dim: int) -> float:
        """The KL weight that makes the loss the negative evidence lower bound, up to a factor: β = 1, nat for nat.

        With D features and d latents: 1 where both are sums, d / D where both are means, 1 / D or d where only the
        reconstruction or only the KL is a mean. A squared error counts as nats: a Gaussian decoder of variance ½.

        >>> Objective(kl_reduction="mean").unit_kl_weight(features=64, latent_dim=8)
        8.0
        """
        return self.reconstruction_scale(features) * latent_dim / self.kl_scale(latent_dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLoss:
    """How a loss of the user's own is put together, with the mean over the batch unless said otherwise.

    Attributes:
        reconstruction: "sum" over the terms of a row's error, see `Likelihood.terms`, or their "mean".
        reconstruction_weight: what it is multiplied by.
        kl: "sum" over latents, their "mean", or "batch sum": over latents and rows.
    """

    reconstruction: Literal["sum", "mean"] = "sum"
    reconstruction_weight: float = 1.0
    kl: Literal["sum", "mean", "batch sum"] = "sum"

    def script_kl(self, latent_dim: int, batch_size: int) -> float:
        """What this script's KL is where each of `latent_dim` latents has 1 nat."""
        return {"sum": latent_dim, "mean": 1, "batch sum": latent_dim * batch_size}[self.kl]

    def beta(self, kl_weight: float, *, terms: int, latent_dim: int, batch_size: int) -> float:
        """Nats of KL that weigh as much as one of reconstruction, at its KL weight.

        >>> OwnLoss(reconstruction_weight=3).beta(0.5, terms=64, latent_dim=8, batch_size=128)
        0.16666666666666666
        """
        kl = self.script_kl(latent_dim, batch_size) / latent_dim
        return kl_weight * kl / self.reconstruction_share(terms)

    def reconstruction_share(self, terms: int) -> float:
        """What a row's error, summed over its terms, is multiplied by."""
        return self.reconstruction_weight * (1.0 if self.reconstruction == "sum" else 1.0 / terms)
