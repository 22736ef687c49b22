"""Histories whose truth is known: by the dynamics that made them, or because we trained them.

Two families. Thresholds were chosen on the first; the second has other noise (correlated), other lengths, other units
and other shapes, and was looked at only once they stood.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

RECORDED = Path(__file__).parent  # Keras on digits, under settings that end as the names say


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A history, how many latents its KL sums over (1: a mean; None: nobody knows), and what it truly is."""

    name: str
    truth: str
    frame: pd.DataFrame
    latent_dim: int | None = None


def _frame(
    kl: np.ndarray, weight: np.ndarray | None = None, *, scale: float = 50.0, falls: bool = True
) -> pd.DataFrame:
    epochs = np.arange(kl.size)
    reconstruction = scale * (0.3 + 0.7 * np.exp(-epochs / (0.15 * kl.size))) if falls else np.full(kl.size, scale)
    columns = {"epoch": epochs, "val_kl_loss": kl, "val_reconstruction_loss": reconstruction}
    return pd.DataFrame(columns if weight is None else columns | {"kl_weight": weight})


def _known(name: str, truth: str, frame: pd.DataFrame, latent_dim: int | None = None) -> Known:
    return Known(name=name, truth=truth, frame=frame, latent_dim=latent_dim)


def first_family() -> Iterator[Known]:
    """Independent relative noise, 40 to 120 epochs, per latent or sums over 8 or 16."""
    random = np.random.default_rng(1)

    def noisy(kl: np.ndarray, noise: float = 0.01) -> np.ndarray:
        return np.asarray(kl * (1 + noise * random.standard_normal(kl.size)))

    for epochs in (40, 80, 120):
        t = np.arange(epochs, dtype=float)
        rise = 1 - np.exp(-t / (epochs / 10))
        for noise in (0.002, 0.01, 0.05):
            yield _known(f"settles, {epochs} epochs, {noise:.1%} noise", "healthy", _frame(noisy(2.5 * rise, noise)))
        yield _known(f"settles, a sum over 16, {epochs}", "healthy", _frame(noisy(32 * rise)), 16)
        yield _known(f"falls from a first peak, {epochs}", "healthy", _frame(noisy(2 + 4 * np.exp(-t / 4))))
        ramp = np.minimum(1, t / (epochs / 4))
        annealed = noisy(2 + 6 * (1 - ramp))
        yield _known(f"annealed long ago, {epochs}", "healthy", _frame(annealed, ramp))
        yield _known(f"annealing, {epochs}", "annealing", _frame(noisy(1 + 3 * t / epochs), t / epochs / 2))
        cycle = np.minimum(1, (t % 20) / 10)
        yield _known(f"cyclical, {epochs}", "healthy", _frame(noisy(3 - cycle), cycle))
        yield _known(f"still rising, {epochs}", "still_moving", _frame(noisy(4 * t / (epochs + 0.0))))
        yield _known(
            f"climbs past 20 per latent, {epochs}", "runaway", _frame(noisy(8 * (1 + 25 * t / epochs)), None), 8
        )
        yield _known(f"grows like a power, unit unknown, {epochs}", "runaway", _frame(noisy(60 * (t / epochs) ** 2)))
        yield _known(f"explodes, {epochs}", "runaway", _frame(np.where(t == epochs - 1, 1e4, noisy(2.5 * rise))))
        yield _known(f"collapsed, {epochs}", "collapsed", _frame(noisy(1e-3 + np.exp(-t / 2)), falls=False))
        yield _known(f"collapsed, a sum over 8, {epochs}", "collapsed", _frame(noisy(0.1 + np.exp(-t / 2))), 8)
        yield _known(f"NaN, {epochs}", "diverged", _frame(np.where(t > epochs // 2, np.nan, 2.5 * rise)))
    yield _known("short", "unknown", _frame(np.array([0.2, 0.9, 1.4])))
    yield _known("a level that fits a sum or a mean", "unknown", _frame(noisy(np.full(60, 19.4))))


def held_out_family() -> Iterator[Known]:
    """Correlated noise, 25 to 400 epochs, sums over 2 to 256, saturation by powers and steps, sawtooth annealing."""
    random = np.random.default_rng(77)

    def wander(kl: np.ndarray, noise: float) -> np.ndarray:
        walk = np.zeros(kl.size)
        for epoch in range(1, kl.size):
            walk[epoch] = 0.5 * walk[epoch - 1] + noise * random.standard_normal()
        return np.asarray(kl * np.exp(walk))

    for latents, epochs in ((2, 25), (4, 50), (16, 60), (32, 150), (64, 33), (128, 75), (256, 400)):
        t = np.arange(epochs, dtype=float)
        share = t / epochs
        what = f"over {latents}, {epochs} epochs"
        rise = 1 - (1 + t) ** -1.5
        for noise in (0.001, 0.004, 0.02):
            yield _known(
                f"settles {what}, {noise:.1%}", "healthy", _frame(wander(latents * 1.8 * rise, noise)), latents
            )
        ramp = np.minimum(1, t / max(3, epochs // 5))
        yield _known(
            f"annealed {what}", "healthy", _frame(wander(latents * (3 - 1.5 * ramp), 0.004), 4e-3 * ramp), latents
        )
        yield _known(
            f"annealing {what}", "annealing", _frame(wander(latents * 2 * share, 0.004), 1e-4 * share), latents
        )
        yield _known(f"climbs {what}", "runaway", _frame(wander(latents * (2 + 18 * share**0.7), 0.004)), latents)
        yield _known(f"saturates high {what}", "runaway", _frame(wander(latents * 20 * rise, 0.004)), latents)
        yield _known(f"vanishes {what}", "collapsed", _frame(wander(latents * 1e-4 + 3 / (1 + t) ** 6, 0.01)), latents)
        yield _known(f"infinite {what}", "diverged", _frame(np.where(share > 0.9, math.inf, latents * rise)), latents)
        if epochs < 100:
            yield _known(
                f"rises still {what}", "still_moving", _frame(wander(latents * (1 + 3 * share), 0.002)), latents
            )


TRUTHS = {
    "healthy_sum_8": ("healthy", 8), "annealed_healthy_mean_4": ("healthy", None), "runaway_mean_8": ("runaway", 1),
    "collapsed_sum_8": ("collapsed", 8), "annealing_sum_8": ("annealing", 8), "diverged_sum_8": ("diverged", 8),
    "annealing_unlogged_sum_8": ("annealing", 8), "cyclical_sum_8": ("healthy", 8), "short_sum_8": ("unknown", 8),
}  # fmt: skip


def recorded() -> Iterator[Known]:
    """Trainings of the Keras example's VAE on digits, with CSVLogger."""
    for name, (truth, latent_dim) in TRUTHS.items():
        yield _known(name, truth, pd.read_csv(RECORDED / f"{name}.csv"), latent_dim)
