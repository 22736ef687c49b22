"""Columns of a table that hold dates, in whatever forms."""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_LIKE_DATE = r"\d[-/:]\w.*\d"
_TIME = r"[T ]+\d{1,2}:\d{2}.*$"
# Of three parts: 10-12 may be a range.
_DAY = r"\d{1,4}[-/. ]\w{1,9}[-/. ]\d{1,4}|[A-Za-z]{3,9} \d{1,2}, \d{4}"
_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%d/%m/%y", "%m/%d/%Y", "%m/%d/%y"),
    *("%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y"),
)
_MOSTLY = 0.5


def are_dates(values: "pd.Series[Any]") -> bool:
    """Tell whether most values of a column that are not missing are dates, each in one form or another."""
    known = int(values.notna().sum())
    return bool(known) and int(find_dates(values).sum()) > _MOSTLY * known


def find_dates(values: "pd.Series[Any]") -> "pd.Series[bool]":
    """Whether each value is a date."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return values.notna()
    text = values.dropna().astype(str).str.strip()
    found = pd.Series(data=False, index=values.index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not text.empty and text.str.contains(_LIKE_DATE, regex=True).all():
            found[text.index] = bool(pd.to_datetime(text, errors="coerce").notna().all())
        if not found.any():
            days = text.str.replace(_TIME, "", regex=True)
            days = days[days.str.fullmatch(_DAY)]
            for form in _FORMATS if not days.empty else ():
                found[days.index] |= pd.to_datetime(days, format=form, errors="coerce").notna()
    return found
