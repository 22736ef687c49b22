"""Curves, measures and samples as JSON values: exact, compact, and never pickled."""

import base64
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from klsearch.studies.errors import StorageError
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.measures import LATENT_NAMES, SCALAR_NAMES, Measures
from klsearch.vae.evaluation.latent_map import LatentMap
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples, Samples, SeriesSamples

# What decoding raises of values that nobody encoded.
_WRONG = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    zlib.error,
)


class DamagedStudy(StorageError):
    """What a storage holds is not as it was written; the message says what, and whoever opened it says where.

    Args:
        what: that is.
        why: it cannot be read.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"{what} is damaged, or of another release of klsearch ({why}); restore it from a copy, or use that "
            "release."
        )


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """A block that only decodes what a storage gave: whatever does not fit there is damaged.

    Not every storage notices a changed bit by itself: databases do not, nor do journals of earlier releases.

    Raises:
        DamagedStudy: it is.
    """
    try:
        yield
    except _WRONG as error:
        told = str(error).strip().partition("\n")[0]
        raise DamagedStudy(what, f"{type(error).__name__}: {told}") from error


def encode_curves(curves: TrainingCurves) -> str:
    """The curves as base64 of little-endian float32 rows: every bit is kept, in a third of the digits."""
    return base64.b64encode(curves.as_rows().astype("<f4").tobytes()).decode("ascii")


def decode_curves(text: str) -> TrainingCurves:
    """The curves that `encode_curves` wrote."""
    rows = np.frombuffer(base64.b64decode(text), dtype="<f4").reshape(-1, len(CURVE_NAMES))
    return TrainingCurves.from_rows(rows)


def encode_measures(measures: Measures) -> dict[str, Any]:
    """The measures as JSON values by name; a number that is not finite becomes None."""
    values = {field.name: getattr(measures, field.name) for field in fields(measures)}
    return {
        name: [_finite(each) for each in value.tolist()] if isinstance(value, np.ndarray) else _finite(value)
        for name, value in values.items()
    }


def decode_measures(values: Mapping[str, Any]) -> Measures:
    """The measures that `encode_measures` wrote, with NaN for a measure that was added since."""
    unknown = [None] * len(values["kl_mean_part"])
    decoded: dict[str, Any] = {name: _number(values.get(name)) for name in SCALAR_NAMES}
    for name in LATENT_NAMES:
        decoded[name] = np.array([_number(value) for value in values.get(name, unknown)], dtype=np.float64)
    return Measures(**decoded, active_units=int(values["active_units"]))


def encode_probe(probe: Probe | None) -> dict[str, Any] | None:
    """The probe as JSON values."""
    return None if probe is None else asdict(probe)


def decode_probe(values: Mapping[str, Any] | None) -> Probe | None:
    """The probe that `encode_probe` wrote."""
    if values is None:
        return None
    numbers = {name: float(value) for name, value in values.items() if name != "measure"}
    return Probe(measure=values["measure"], **numbers)


Kept = Samples | LatentMap
"""What is kept of the data for the report."""

_KEPT: dict[str, type[Kept]] = {
    "images": ImageSamples,
    "series": SeriesSamples,
    "columns": ColumnErrors,
    "latents": LatentMap,
}


def encode_samples(samples: Kept) -> dict[str, Any]:
    """The samples as JSON values, arrays compressed."""
    kind = next(name for name, record in _KEPT.items() if isinstance(samples, record))
    values = {field.name: getattr(samples, field.name) for field in fields(samples)}
    return {"kind": kind} | {name: _encoded(value) for name, value in values.items()}


def decode_samples(values: Mapping[str, Any]) -> Any:
    """The samples that `encode_samples` wrote."""
    record = _KEPT[values["kind"]]
    return record(**{name: _decoded(value) for name, value in values.items() if name != "kind"})


def _encoded(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return list(value) if isinstance(value, tuple) else value
    kind = "|u1" if value.dtype == np.uint8 else "<i8" if value.dtype.kind == "i" else "<f8"
    packed = base64.b64encode(zlib.compress(value.astype(kind).tobytes(), 9)).decode("ascii")
    return {"type": kind, "shape": list(value.shape), "bytes": packed}


def _decoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return np.frombuffer(zlib.decompress(base64.b64decode(value["bytes"])), value["type"]).reshape(value["shape"])
    return tuple(value) if isinstance(value, list) else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
