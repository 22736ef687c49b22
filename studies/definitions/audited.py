"""The study of a model that an audit has examined: its settings as they are, and ranges around them."""

import re
from pathlib import Path

from klsearch.studies.definitions.proposed import kl_weights, toml_value
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.data.proposals import choose_likelihood
from klsearch.vae.diagnostics.audit.findings import Facts
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.objective import Objective

_ERRORS = {
    "squared error": GAUSSIAN.name,
    "cross-entropy": BERNOULLI.name,
    "cross-entropy of logits": BERNOULLI.name,
}


def define_audited(kind: str, source: str, dataset: Dataset, facts: Facts) -> str:
    """The definition, as TOML, that searches the settings of a model whose present ones are the baseline `mine`.

    Args:
        kind: what makes the model, as `[model] kind` names it.
        source: of its rows, as `[data] source` does.
        dataset: those rows.
        facts: what the audit found: reductions and weights, in which `mine` is written.
    """
    likelihood = _ERRORS.get(str(facts["reconstruction"])) or choose_likelihood(dataset.train).likelihood
    latents = int(str(facts["latent_dim"]))
    weights = kl_weights(Objective(likelihood=LIKELIHOODS[likelihood]), dataset, latents)
    lines = [
        "[study]",
        f"name = {toml_value(_name(kind))}",
        "trials = 50",
        'stop = "decided"',
        "",
        "[data]",
        f"source = {toml_value(source)}",
        "",
        "[model]",
        f"kind = {toml_value(kind)}",
        f"latent_dim = {latents}",
        f"likelihood = {toml_value(likelihood)}",
        "",
        "[training]   # put in what you train with",
        "epochs = 60",
        "batch_size = 128",
        "learning_rate = 1e-3",
        "",
        "[space]",
        f"kl_weight = {{ low = {weights.low!r}, high = {weights.high!r}, log = true }}   # {weights.reason}",
        "clip_low = { low = -20.0, high = -4.0 }",
        "clip_high = { low = 0.0, high = 4.0 }",
        "annealing_epochs = { low = 0, high = 20 }",
        "l2 = { low = 1e-6, high = 1e-2, log = true }",
    ]
    pull, error = facts["kl_pull"], facts["reconstruction_weight"]
    if pull and error:
        lines += [
            "",
            "[baselines.mine]   # as it is now, in the terms of its own loss",
            'reconstruction = "sum"',
            f"reconstruction_weight = {float(error):.4g}",
            'kl = "sum"',
            f"kl_weight = {float(pull):.4g}",
        ]
    return "\n".join(lines) + "\n"


def _name(kind: str) -> str:
    """A study's name after the module or the file that makes its model, which becomes a folder's."""
    stem = Path(kind.rpartition(":")[0]).name.removesuffix(".py")
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-") or "mine"
