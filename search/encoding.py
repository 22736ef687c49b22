"""Curves and measures as JSON values: exact, compact, and never pickled."""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vae.curves import CURVE_NAMES, TrainingCurves
from vae.measures import LATENT_NAMES, Measures


def encode_curves(curves: TrainingCurves) -> str:
    """The curves as base64 of little-endian float32 rows: every bit is kept, in a third of the digits."""
    return base64.b64encode(curves.as_rows().astype("<f4").tobytes()).decode("ascii")


def decode_curves(text: str) -> TrainingCurves:
    """The curves that `encode_curves` wrote."""
    rows = np.frombuffer(base64.b64decode(text), dtype="<f4").reshape(-1, len(CURVE_NAMES))
    return TrainingCurves.from_rows(rows)


_SCALARS = ("reconstruction", "unexplained", "elbo", "clip_share_low", "clip_share_high")


def encode_measures(measures: Measures) -> dict[str, Any]:
    """The measures as JSON values; a number that is not finite becomes None."""
    values: dict[str, Any] = {name: _finite(getattr(measures, name)) for name in _SCALARS}
    values |= {name: [_finite(value) for value in getattr(measures, name).tolist()] for name in LATENT_NAMES}
    return values | {"active_units": measures.active_units}


def decode_measures(values: Mapping[str, Any]) -> Measures:
    """The measures that `encode_measures` wrote."""
    decoded: dict[str, Any] = {name: _number(values[name]) for name in _SCALARS}
    for name in LATENT_NAMES:
        decoded[name] = np.array([_number(value) for value in values[name]], dtype=np.float64)
    return Measures(**decoded, active_units=int(values["active_units"]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
