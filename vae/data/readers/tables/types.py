"""Columns of Python's objects, of Arrow's types or of text with blanks about it, as pandas has them from a file."""

from typing import TYPE_CHECKING, Any

import numpy as np

from klsearch.vae.data.readers.tables.numerals import is_numeric

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")  # as pandas calls what objects are


def in_usual_types(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A frame whose numbers, truth values and texts are such by their columns' types, with nothing about the texts.

    Text that is empty, or nothing but blanks, is missing, as an empty cell of a file is. A column without any value
    holds numbers, as pandas reads it from text.
    """
    for at in range(len(frame.columns)):  # by place: two may have one name
        values = frame.iloc[:, at]
        usual = _without_blanks(_from_arrow(values))
        usual = _of_nothing(usual) if usual.isna().all() else _of_objects(usual)
        if usual is not values:
            frame.isetitem(at, usual.array)
    return frame


def _from_arrow(values: "pd.Series[Any]") -> "pd.Series[Any]":
    import pandas as pd

    if not isinstance(values.dtype, pd.ArrowDtype):
        return values
    import pyarrow as pa

    converted: pd.Series[Any] = pa.array(values.array).to_pandas()
    return converted


def _without_blanks(values: "pd.Series[Any]") -> "pd.Series[Any]":
    import pandas as pd

    if values.dtype.kind != "O" or not any(map(_has_blanks, values)):  # O are pandas' text and categories too
        return values
    texts = [value.strip() or None if isinstance(value, str) else value for value in values]
    return pd.Series(texts, index=values.index, dtype=object)


def _has_blanks(value: object) -> bool:
    return isinstance(value, str) and (not value or value != value.strip())


def _of_nothing(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column without any value as numbers that are missing; dates stay dates."""
    import pandas as pd

    return pd.Series(np.nan, index=values.index, dtype="float64") if values.dtype.kind == "O" else values


def _of_objects(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Numbers and truth values among Python's objects as such; text and whatever is mixed stays."""
    import pandas as pd

    if not pd.api.types.is_object_dtype(values):
        return values
    kind, has_gaps = pd.api.types.infer_dtype(values, skipna=True), values.isna().any()
    if kind == "boolean":
        return values.astype("boolean" if has_gaps else "bool")
    if kind == "integer" and not has_gaps and is_numeric(whole := pd.to_numeric(values)):
        return whole
    if kind in _NUMBERS:
        return pd.Series(values.to_numpy(dtype=np.float64, na_value=np.nan), index=values.index)
    return values
