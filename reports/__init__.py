"""Records in, HTML out: tables, figures and the self-contained report. Neither TensorFlow nor Optuna."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.report import render_comparison, render_report, write_comparison, write_report
    from reports.tables import confirmation_frame, trials_frame, write_trials_csv

__all__ = [
    "confirmation_frame",
    "render_comparison",
    "render_report",
    "trials_frame",
    "write_comparison",
    "write_report",
    "write_trials_csv",
]

_REPORT = ("render_comparison", "render_report", "write_comparison", "write_report")


def __getattr__(name: str) -> object:
    """A public name, with which pandas, matplotlib and Jinja2 are loaded; importing the room alone loads none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("reports.report" if name in _REPORT else "reports.tables"), name)
