"""A training of a user's own that was watched: what is judged from its curves and its latents together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from klsearch.vae.diagnostics.column_names import is_other_weight, recognise
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.diagnosis import Diagnosis, diagnose
from klsearch.vae.diagnostics.gates import Gate, GateThresholds, judge
from klsearch.vae.diagnostics.histories import History
from klsearch.vae.diagnostics.kl_weights import LossParts
from klsearch.vae.diagnostics.measures import Measures

CLIP_BOUND = "clip_bound"
FAULTS = ("runaway", "collapsed", "diverged", CLIP_BOUND)
"""The verdicts that a training is better stopped for."""

_NEXT = {
    CLIP_BOUND: "Widen the clip of the log-variance where it holds latents that matter, or raise the KL weight.",
    "still_moving": "Train longer, about as many epochs again.",
    "annealing": "Train on until the KL weight has been full for at least {window} epochs.",
    "unknown": "Train longer.",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watched:
    """A training up to its latest epoch.

    Attributes:
        curves: on the rows that were watched, KL a mean over latents; what the loss is made of as `fit` logs it.
        measures: of the latest weights on the same rows; None before the first look, and once they were not finite.
        looked: the places of the epochs in which the model was looked at: what the curves have of the rows that are
            watched are lines between them. None for all.
        logged: what else `fit` logged, by its name there: loss, its parts, metrics; one value an epoch.
        thresholds: of the gates; the band in nats per latent.
        notes: what was taken for what of the model, and what makes the numbers doubtful.
        rows: how many rows were watched.
        seconds: of the training.
        watching: of them, what watching took, without its first two looks, which compile and are timed.
        known: of the model and its training, by the keys of a definition: `kind`, `learning_rate`, `optimizer`…
        clip: the bounds between which the user clips z_log_var, `clip_low` and `clip_high`, if they do.
    """

    curves: TrainingCurves
    measures: Measures | None
    logged: Mapping[str, tuple[float, ...]]
    thresholds: GateThresholds
    notes: tuple[str, ...] = ()
    looked: tuple[int, ...] | None = None
    rows: int
    seconds: float
    watching: float
    known: Mapping[str, str | float] = field(default_factory=dict)
    clip: Mapping[str, float] = field(default_factory=dict)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What a study asks of every training."""
        return judge(self.curves, self.measures, self.thresholds)

    @property
    def cost(self) -> float:
        """The share of the training's time that watching took."""
        return self.watching / self.seconds if self.seconds > 0 else math.nan

    def diagnose(self) -> Diagnosis:
        """Whether its KL is well, as `klsearch diagnose` says it, with what the latents add."""
        found = diagnose(self._history(), kl_reduction="mean", thresholds=self.thresholds)
        found = replace(found, unknowns=(), next=self._next(found.verdict, found))
        if self.measures is None or found.verdict in FAULTS:
            return found
        latents, most = self.measures.latent_dim, self.thresholds.max_clip_share
        active, needed = self.measures.active_units, self.thresholds.active_units_needed(latents)
        told = f"{active} of {latents} latents are active; {needed} are needed."
        share = self._clip_share()
        if found.verdict != "annealing" and share > most:
            at_bound = f"The log-variance lies at a clip bound in {share:.1%} of rows and latents (over {most:.0%})."
            return replace(
                found, verdict=CLIP_BOUND, reasons=(at_bound, *found.reasons, told), next=self._next(CLIP_BOUND, found)
            )
        if found.verdict == "healthy" and active < needed:
            lower = found.next if found.refutation else "Lower the KL weight or anneal it for longer."
            return replace(found, verdict="collapsed", reasons=(told, *found.reasons), next=lower)
        return replace(found, reasons=(*found.reasons, told))

    def _clip_share(self) -> float:
        """The larger share at a clip bound, mean over the window; 0 before there are so many epochs."""
        window = self.thresholds.window
        if self.curves.epochs < window:
            return 0.0
        shares = (self.curves.clip_share_low, self.curves.clip_share_high)
        return max(float(np.mean(share[-window:])) for share in shares)

    def _next(self, verdict: str, found: Diagnosis) -> str:
        if found.refutation:  # which comes first
            return found.next
        return _NEXT.get(verdict, found.next).format(window=self.thresholds.window)

    def _history(self) -> History:
        curves = self.curves
        epochs = np.arange(1.0, curves.epochs + 1)
        looked = np.arange(curves.epochs) if self.looked is None else np.array(self.looked, int)
        name = recognise(tuple(self.logged)).get("kl_weight", "")
        is_known = not np.any(np.isnan(curves.kl_weight)) and not is_other_weight(name, curves.kl_weight)
        return History(
            kl=curves.validation_kl[looked].astype(float),
            epochs=epochs[looked],
            rows=epochs,
            reconstruction=curves.validation_reconstruction[looked].astype(float),
            kl_weight=curves.kl_weight.astype(float) if is_known else None,
            parts=self._parts(),
            nonfinite_epochs=int(np.count_nonzero(curves.nonfinite_steps)),
            columns={"kl": "kl_per_latent"},
        )

    def _parts(self) -> LossParts | None:
        """What the loss is made of as `fit` logs it, [T]; None where one of its parts has no known name."""
        names = recognise(tuple(self.logged))
        if not {"loss", "reconstruction", "kl"} <= names.keys():
            return None
        loss, reconstruction, kl = (
            np.array(self.logged[names[part]], float) for part in ("loss", "reconstruction", "kl")
        )
        return LossParts(loss=loss, reconstruction=reconstruction, kl=kl)
