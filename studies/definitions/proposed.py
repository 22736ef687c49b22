"""A definition for data that nobody has written one for."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klsearch.studies.definitions.catalog import template
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.errors import DataError
from klsearch.vae.data.cautions import CHANNELS, channels_first
from klsearch.vae.data.checks import check_rows
from klsearch.vae.data.datasets import DataProblem, Dataset, Request, load_dataset
from klsearch.vae.data.gaps import have_gaps
from klsearch.vae.data.proposals import Choice, KlWeights, choose_kl_weights, choose_likelihood, look_like_series
from klsearch.vae.data.readers.raw import ColumnProblem, NothingLeft, Refusal, toml_key, toml_text
from klsearch.vae.data.sources import is_path, read_source
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.objective import Objective

_COMMENT_AT = 29  # where the template's comments begin
_BATCHES = 8  # in an epoch, at the least
_FEW_FEATURES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A definition for data.

    Attributes:
        text: of its file.
        left_out: by column of a table that cannot be data, what it holds instead, with the first.
    """

    text: str
    left_out: Mapping[str, str]


def proposed_kl_weights(definition: StudyDefinition, dataset: Dataset) -> KlWeights:
    """The KL weights that the data of a definition suggest, under its loss."""
    return kl_weights(definition.objective(), dataset, definition.model.latent_dim)


def propose_definition(source: str, folder: Path, *, name: str, array: str | None = None) -> Proposal:
    """The template with what the data suggest, and why, in its comments.

    Columns that cannot be data, as dates cannot, are left out by it.

    Args:
        source: as `[data] source` has it.
        folder: where the definition will stand, to which its paths are relative.
        name: of the study.
        array: as `[data] array` has it.

    Raises:
        DataError: the data cannot be read or trained on.
    """
    left_out: dict[str, Refusal] = {}
    try:
        while True:
            request = Request(source=source, folder=folder, array=array, columns=dict.fromkeys(left_out, "ignore"))
            try:
                raw = read_source(request)
                missing = "mask" if have_gaps(raw.rows) else "refuse"
                check_rows(raw, missing=missing)
                choice = choose_likelihood(raw.rows, raw.table)
                scaling = LIKELIHOODS[choice.likelihood].scaling
                dataset = load_dataset(request, raw=raw, missing=missing, scaling=scaling)
                break
            except ColumnProblem as problem:
                left_out |= problem.refusals
    except NothingLeft as error:
        without = f"without {'it' if len(left_out) == 1 else 'them'} no column is left to train on"
        raise DataError(f"{ColumnProblem(left_out)}; {without}" if left_out else str(error)) from error
    except DataProblem as error:
        raise DataError(str(error)) from error
    text = template()
    lines = _lines(source, dataset, choice, missing=missing, name=name)
    if array is not None:
        lines.append(("data", "array", array, ""))
    if left_out:
        ignored = dict.fromkeys(left_out, "ignore")
        reasons = dict.fromkeys(refusal.what for refusal in left_out.values())
        lines.append(("data", "columns", ignored, f"left out: {', '.join(reasons)}"))
    for section, key, value, why in lines:
        text = _put(text, section, key, value, why)
    about = f"rows of {'×'.join(map(str, dataset.shape))} values"
    text = text.replace("# A study of your own:", f"# From {source}, {sum(dataset.rows.values()):,} {about}:", 1)
    return Proposal(text=text, left_out={column: refusal.words for column, refusal in left_out.items()})


def _lines(
    source: str, dataset: Dataset, choice: Choice, *, missing: str, name: str
) -> list[tuple[str, str, Any, str]]:
    """Section, key, value and reason of what differs from the template."""
    features, rows = math.prod(dataset.shape), dataset.rows["train"]
    latents = max(1, min(8, features // 4))
    objective = Objective(likelihood=LIKELIHOODS[choice.likelihood])
    weights = kl_weights(objective, dataset, latents)
    unit = objective.unit_kl_weight(features, latents)
    small = features < _FEW_FEATURES or rows < features
    few = f"small, for {rows:,} training rows of {features:,} values overfit" if rows < features else ""
    batch = 2 ** max(1, min(7, int(math.log2(max(2, rows // _BATCHES)))))
    of_channels = [str(caution) for caution in dataset.warnings if caution.code == CHANNELS]
    found = [
        ("study", "name", name, f"also the name of the run folder, runs/{name}"),
        ("data", "source", source, "relative to this file" if is_path(source) else ""),
        ("data", "scaling", "auto", "; but ".join([f"here: {dataset.scaling.words}", *of_channels])),
        ("model", "latent_dim", latents, ""),
        ("model", "likelihood", choice.likelihood, choice.reason),
        ("training", "batch_size", batch, ""),
        ("space", "kl_weight", {"low": weights.low, "high": weights.high, "log": True}, weights.reason),
        ("baselines.mine", "kl_weight", float(f"{unit:.3g}"), "a plain VAE's, β = 1; put in what you have now"),
    ]
    if missing == "mask":
        found.append(("data", "missing", missing, "values are missing, and left out of what is learned"))
    if look_like_series(dataset.train):
        found.append(("model", "kind", "conv1d", "series; compare with 'recurrent' and 'dense', both without filters"))
        found.append(("model", "filters", [16, 32], ""))
        found.append(("model", "hidden", [32], few))
    else:
        of_order = channels_first(dataset.train, "conv" if len(dataset.shape) == 3 else "conv1d")
        found += [("model", "kind", "dense", of_order)] if of_order else []
        found.append(("model", "hidden", [32] if small else [128, 64], few))
    return found


def kl_weights(objective: Objective, dataset: Dataset, latent_dim: int) -> KlWeights:
    """The KL weights that data suggest for a model of so many latents."""
    return choose_kl_weights(
        dataset.train,
        unit=objective.unit_kl_weight(math.prod(dataset.shape), latent_dim),
        is_squared_error=objective.likelihood.fits_variance,
    )


def _put(text: str, section: str, key: str, value: Any, why: str) -> str:
    """The template with another value of a key, which may be behind a # there."""
    start = text.index(f"[{section}]")
    # With what its comment goes on to say in the lines below, which another reason takes the place of.
    rest = r"(?:\n {10,}#[^\n]*)*" if why else ""
    line = re.compile(rf"^(?:# )?{key} = [^#\n]*(#[^\n]*)?{rest}$", re.MULTILINE)
    found = line.search(text, start)
    assert found is not None, f"the template has no {key} in [{section}]"
    comment = f"# {why}" if why else found.group(1) or ""
    put = f"{key} = {toml_value(value)}".ljust(_COMMENT_AT - 1) + " " + comment
    return text[: found.start()] + put.rstrip() + text[found.end() :]


def toml_value(value: Any) -> str:
    """A value as TOML writes it, on one line; a number reads back to the same one.

    >>> [toml_value(value) for value in (12, 0.1, 1e-05, math.inf, "tall", [16, 32])]
    ['12', '0.1', '1e-05', 'inf', '"tall"', '[16, 32]']
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return toml_text(value)
    return repr(float(value)) if isinstance(value, float) else repr(value)  # NumPy's numbers have another repr
