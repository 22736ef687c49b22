"""The band of a study that leaves it to a reference: around the KL at which plain trainings of its model end."""

import math
from collections.abc import Callable

import numpy as np

from klsearch.search.layout import Layout
from klsearch.search.seeds import reference_seed
from klsearch.search.training.models import build_population, weighting_of
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import Method
from klsearch.studies.errors import KlsearchError, UsageError
from klsearch.studies.record import Reference
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.diagnostics.gates import KL_FLOOR_NATS, final_kl, kl_slope
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import Network
from klsearch.vae.training.population import Population

# Two take no longer than one: a member alone would be computed by other code.
_SEEDS = 2
# Wide enough to trade reconstruction against KL; the middle is the reference's own KL.
_WIDTH = 0.5
_DIGITS = 3
# Times as long as a trial, at the most, that the reference trains until it has settled.
_MOST_TIMES = 20


def find_reference(
    definition: StudyDefinition,
    network: Network,
    dataset: Dataset,
    layout: Layout,
    *,
    say: Callable[[str], None],
    stop: Callable[[], bool],
) -> Reference:
    """The band around the KL that the evidence lower bound asks for by itself, with no weight that anyone chose.

    A σ-VAE, or where no variance is left to fit the plain bound (β = 1), is trained on two seeds, until its KL has
    settled: as the gate *settled* asks, and as long as a trial once more moved it by no more than that over the window.
    The band reaches from half to one and a half times the mean of their final KL on validation. The authors of
    ControlVAE set their target so: run the basic VAE, get its KL, then slightly increase and decrease it.

    Args:
        definition: the study, whose band is "auto".
        network: its architecture.
        dataset: its data.
        layout: how its members are trained.
        say: is told what happens.
        stop: whether to stop now; asked about once a second.

    Raises:
        KlsearchError: the reference diverged or collapsed, so that it gives no band; or `stop` said so.
        UsageError: its KL still moved after twenty times the epochs of a trial.
    """
    method: Method = "sigma" if definition.objective().likelihood.fits_variance else "beta1"
    say(f"Training the reference for the KL band ({_SEEDS} seeds)…")
    weighting = weighting_of(definition, method)
    population = build_population(definition, network, dataset, layout.for_members(_SEEDS), weighting)
    settings = definition.plain_hyperparameters(math.prod(dataset.shape))
    kl = float(np.mean(_final_kls(population, definition, settings, stop=stop)))
    if not math.isfinite(kl):
        raise KlsearchError(
            "study.kl_band = 'auto': the reference training diverged or collapsed, so it sets no band; give two "
            "numbers, such as [0.0, 5.0]."
        )
    unit = definition.model.latent_dim if definition.study.kl_reduction == "sum" else 1
    low, high = (float(f"{unit * kl * factor:.{_DIGITS}g}") for factor in (1 - _WIDTH, 1 + _WIDTH))
    reference = Reference(method=method, seeds=_SEEDS, kl=kl, kl_band=(low, high))
    say(f"KL band: {low:g} to {high:g} nats{'' if unit > 1 else ' per latent'}, {reference.words}.")
    return reference


def _final_kls(
    population: Population, definition: StudyDefinition, settings: Hyperparameters, *, stop: Callable[[], bool]
) -> list[float]:
    """The final KL of a training on each seed; NaN where it diverged or no latent is active."""
    found: list[float] = []
    seeds = [reference_seed(definition.study.seed, index) for index in range(_SEEDS)]
    for first in range(0, _SEEDS, population.slots):
        slots = range(min(population.slots, _SEEDS - first))
        for slot in slots:
            population.start(slot, settings, seeds[first + slot])
        found += _settled_kls(population, definition, slots, stop=stop)
    return found


def _settled_kls(
    population: Population, definition: StudyDefinition, slots: range, *, stop: Callable[[], bool]
) -> list[float]:
    """Train on by the epochs of a trial at a time, and take every member's KL when it has settled.

    So a member's KL is the same whichever others train beside it. NaN where it can give no band.
    """
    gates, epochs = definition.gates, definition.training.epochs
    found, before = dict[int, float](), dict.fromkeys(slots, math.nan)
    slope = moved = math.nan
    for times in range(1, _MOST_TIMES + 1):
        while population.epoch(0) < times * epochs:
            if stop():
                raise KlsearchError(
                    "stopped before the reference for the KL band was trained, so there is no study yet; give it more "
                    "time, or a kl_band of two numbers, such as [0.0, 5.0]."
                )
            population.advance()
        for slot in [slot for slot in slots if slot not in found]:
            curves = population.curves(slot)
            kl, slope = final_kl(curves, gates.window), abs(kl_slope(curves, gates.window))
            if not math.isfinite(kl):
                return [math.nan]
            moved = abs(kl - before[slot]) / max(kl, KL_FLOOR_NATS)
            if slope <= gates.max_kl_slope and moved <= gates.max_kl_slope * gates.window:
                (measures,) = population.measure([slot], "validation")
                found[slot] = kl if measures.active_units else math.nan
            before[slot] = kl
        if len(found) == len(slots):
            return [found[slot] for slot in slots]
    raise UsageError(
        f"study.kl_band = 'auto': the KL of the reference training still moves after "
        f"{_MOST_TIMES * epochs:,} epochs, by {slope:.2%} per epoch (allowed: {gates.max_kl_slope:.2%}) "
        f"and by {moved:.1%} over the last {epochs:,}, so it sets no band; "
        f"give kl_band = [low, high], or train for more epochs."
    )
