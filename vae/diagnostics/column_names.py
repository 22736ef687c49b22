"""What a history's columns hold, as far as their names tell."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

# What columns are called, the likeliest first, once split names such as "val_" are taken off.
NAMES = {
    "epoch": ("epoch", "epochs"),
    "loss": ("loss", "total_loss", "total", "elbo_loss"),
    "kl": (
        "kl_per_latent", "kl_mean", "kl", "kl_loss", "kl_divergence", "kl_divergence_loss", "kld", "kld_loss", "kl_div",
        "kl_term", "kl_sum", "loss_kl", "latent_loss", "regularization_loss",
    ),
    "reconstruction": (
        "reconstruction", "reconstruction_loss", "recon", "recon_loss", "rec_loss", "rec", "reconstruction_error",
        "recon_error", "rec_error", "reconstruction_term", "loss_recon", "mse", "bce", "nll", "mean_squared_error",
        "binary_crossentropy", "distortion",
    ),
    "kl_weight": (
        "kl_weight", "beta", "weight", "kl_beta", "kld_weight", "kl_coefficient", "kl_coeff", "kl_anneal",
        "kl_annealing", "annealing", "anneal", "beta_kl",
    ),
}  # fmt: skip
_SPLITS = re.compile(r"^(val|validation|valid|train|training)_")
_PACE = re.compile(r"(?<=.)_(epoch|step)$")  # Lightning logs one name by epochs and by steps
_BARE_WEIGHT = "weight"  # which may be that of weight decay, or of a layer
LOGARITHM = re.compile(r"^(log|ln)(2|10)?_|_log$")


def bare(column: str) -> str:
    """A column's name without its split, its pace and its unit in brackets, in one spelling."""
    named = re.sub(r"[(\[].*?[)\]]", "", column)
    spelt = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.split(r"/(?=.)|\.(?=\S)", named)[-1])
    return _PACE.sub("", _SPLITS.sub("", re.sub(r"[^a-z0-9]+", "_", spelt.lower()).strip("_")))


def is_validation(column: str) -> bool:
    """Whether a column is of validation rows."""
    return re.search(r"(^|[/.])(val|valid|validation)[_/. ]", column.lower()) is not None


def recognise(found: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The columns by what they hold, as far as their names tell; those of validation rows as "validation kl" and so on.

    `given` names the columns of some of them.
    """
    columns = dict(given or {})
    by_epochs_first = sorted(found, key=lambda column: column.lower().endswith("_step"))
    for meaning, names in NAMES.items():
        if meaning in columns:
            continue
        for split in ("", "validation "):
            of_split = [column for column in by_epochs_first if is_validation(column) == bool(split)]
            matches = [column for name in names for column in of_split if bare(column) == name]
            columns |= {split + meaning: matches[0]} if matches else {}
    return columns


def is_other_weight(column: str, values: np.ndarray) -> bool:
    """Whether what is called a weight, and not whose, only ever falls, as no weight of a KL does."""
    steps = np.diff(values[np.isfinite(values)])
    return bare(column) == _BARE_WEIGHT and bool(np.any(steps < 0)) and not np.any(steps > 0)
