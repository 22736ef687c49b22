"""The study of a model and a training of the user's own: its present settings, and ranges around them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from klsearch.studies.definitions.proposed import kl_weights, toml_value
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.data.proposals import KlWeights, choose_likelihood
from klsearch.vae.diagnostics.audit.findings import Facts
from klsearch.vae.diagnostics.diagnosis import Diagnosis
from klsearch.vae.diagnostics.gates import GateThresholds
from klsearch.vae.diagnostics.watched import Watched
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.objective import Objective

_ERRORS = {
    "squared error": GAUSSIAN.name,
    "cross-entropy": BERNOULLI.name,
    "cross-entropy of logits": BERNOULLI.name,
}
_NOT_TOLD = "   # put in yours: it cannot be told from here"
# What stands for a key of the definition that nobody knows.
_PLACEHOLDERS: Mapping[str, str | float] = {
    "source": "my_data.npy",
    "kind": "my_vae.py:VAE",
    "latent_dim": 8,
    "likelihood": GAUSSIAN.name,
    "epochs": 60,
    "batch_size": 128,
    "learning_rate": 1e-3,
}
_LONGEST_ANNEALING = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a model and its training.

    Attributes:
        name: of the study.
        keys: of `[data]`, `[model]` and `[training]`, by name; what lacks of them is a placeholder.
        mine: the lines of `[baselines.mine]`; None for no such baseline.
        weights: the KL weights to search, where the data suggest them.
    """

    name: str
    keys: Mapping[str, str | float]
    mine: tuple[str, ...] | None
    weights: KlWeights | None = None


def define_audited(kind: str, source: str, dataset: Dataset, facts: Facts) -> str:
    """The definition, as TOML, that searches the settings of a model whose present ones are the baseline `mine`.

    Args:
        kind: what makes the model, as `[model] kind` names it.
        source: of its rows, as `[data] source` does.
        dataset: those rows.
        facts: what the audit found: reductions and weights, in which `mine` is written.
    """
    likelihood = _ERRORS.get(str(facts["reconstruction"])) or choose_likelihood(dataset.train, dataset.table).likelihood
    latents = int(str(facts["latent_dim"]))
    weights = kl_weights(Objective(likelihood=LIKELIHOODS[likelihood]), dataset, latents)
    keys: dict[str, str | float] = {"source": source, "kind": kind, "latent_dim": latents, "likelihood": likelihood}
    stem = Path(kind.rpartition(":")[0]).name.removesuffix(".py")
    return _toml(_Known(name=_name(stem), keys=keys, mine=_audited(facts), weights=weights))


def define_diagnosed(
    found: Diagnosis, *, name: str, latent_dim: int | None = None, kl_reduction: str | None = None
) -> str:
    """The definition that searches the settings of a training of which a history is known.

    Args:
        found: what the history says.
        name: of its file.
        latent_dim: d, where it was given.
        kl_reduction: of the history's KL over latents, where it was given.
    """
    keys: dict[str, str | float] = {"epochs": int(found.numbers["epochs"] or 0)}
    if latent_dim is not None:
        keys["latent_dim"] = latent_dim
    reduction = kl_reduction or (None if latent_dim is None else "sum")
    return _toml(_Known(name=_name(name), keys=keys, mine=_mine(found, reduction)))


def define_watched(watched: Watched, found: Diagnosis, name: str) -> str:
    """The definition that searches the settings of a training that `KLMonitor` watched.

    Args:
        watched: what was seen.
        found: its verdict.
        name: of the model.
    """
    keys: dict[str, str | float] = {**watched.known, "epochs": watched.curves.epochs}
    if watched.measures is not None:
        keys["latent_dim"] = watched.measures.latent_dim
    clips = [f"{key} = {value!r}" for key, value in watched.clip.items() if math.isfinite(value)]
    return _toml(_Known(name=_name(name), keys=keys, mine=(*_mine(found, None), *clips)))


def _audited(facts: Facts) -> tuple[str, ...] | None:
    """The baseline in the terms of a loss as an audit found it; None where a weight is unknown, or none to train with.

    What is summed over the batch is known for the audit's rows, and here put so that it holds for any batch size.
    """
    pull, error, rows = (float(facts.get(key) or 0) for key in ("kl_pull", "reconstruction_weight", "rows"))
    if pull <= 0 or error <= 0:
        return None
    kl, comment = "sum", ""
    kl_summed, error_summed = (facts.get(key) == "batch sum" for key in ("kl_reduction", "reconstruction_reduction"))
    if kl_summed:
        pull, kl = pull / rows, "batch sum"
    if error_summed:
        error /= rows
        if kl_summed:
            kl = "sum"
        else:
            batch = float(_PLACEHOLDERS["batch_size"])
            error, comment = error * batch, f"   # {error:.4g} times the batch size"
    bent = {"free bits": "without its free bits", "capacity": "without its capacity"}.get(str(facts.get("kl_form")))
    return (
        'reconstruction = "sum"',
        f"reconstruction_weight = {error:.4g}{comment}",
        f'kl = "{kl}"',
        f"kl_weight = {pull:.4g}" + (f"   # {bent}, which a study does not have" if bent else ""),
    )


def _mine(found: Diagnosis, kl_reduction: str | None) -> tuple[str, ...]:
    """The baseline that a verdict's numbers tell of; commented lines are what they do not."""
    weight, annealing = found.numbers["kl_weight"], found.numbers["annealing_epochs"]
    lines = [f"kl_weight = {weight:.6g}" if weight else f"# kl_weight = 1.0{_NOT_TOLD}"]
    if annealing:
        lines.append(f"annealing_epochs = {annealing}")
    lines += [
        f'kl = "{kl_reduction}"   # over latents, if the loss has it as the history does'
        if kl_reduction
        else f'# kl = "sum"{_NOT_TOLD}; or "mean" over latents, or "batch sum"',
        f'# reconstruction = "sum"{_NOT_TOLD}; or "mean" over a row\'s values',
        f"# l2 = 0.0{_NOT_TOLD}",
        f"# encoder_dropout = 0.0{_NOT_TOLD}",
    ]
    return tuple(lines)


def _toml(known: _Known) -> str:
    def line(key: str) -> str:
        if key in known.keys:
            return f"{key} = {toml_value(known.keys[key])}"
        return f"{key} = {toml_value(_PLACEHOLDERS[key])}{_NOT_TOLD}"

    epochs = int(known.keys.get("epochs", _PLACEHOLDERS["epochs"]))
    longest = min(_LONGEST_ANNEALING, epochs - GateThresholds().window)
    weights = known.weights
    low, high = (weights.low, weights.high) if weights is not None else (1e-3, 10.0)
    why = weights.reason if weights is not None else "`klsearch init --data SOURCE` says which your data suggest"
    lines = [
        "[study]",
        f"name = {toml_value(known.name)}",
        "trials = 50",
        'stop = "decided"',
        "",
        "[data]",
        line("source"),
        "",
        "[model]",
        *map(line, ("kind", "latent_dim", "likelihood")),
        "",
        "[training]",
        *map(line, ("epochs", "batch_size", "learning_rate")),
        *([line("optimizer")] if "optimizer" in known.keys else []),
        "",
        "[space]",
        f"kl_weight = {{ low = {low!r}, high = {high!r}, log = true }}   # {why}",
        "clip_low = { low = -20.0, high = -4.0 }",
        "clip_high = { low = 0.0, high = 4.0 }",
        *([f"annealing_epochs = {{ low = 0, high = {longest} }}"] if longest > 0 else []),
        "l2 = { low = 1e-6, high = 1e-2, log = true }",
    ]
    if known.mine is not None:
        lines += ["", "[baselines.mine]   # as it is now, in the terms of its own loss", *known.mine]
    return "\n".join(lines) + "\n"


def _name(stem: str) -> str:
    """A study's name, which becomes a folder's."""
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-") or "mine"
