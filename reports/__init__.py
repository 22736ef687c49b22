"""Records in, HTML out: tables, figures and the self-contained report. Neither TensorFlow nor Optuna."""

from importlib import import_module

# Where each public name lives; pandas and matplotlib are loaded with the first name that needs them.
_HOMES = {
    "confirmation_frame": "reports.tables",
    "render_report": "reports.report",
    "trials_frame": "reports.tables",
    "write_report": "reports.report",
    "write_trials_csv": "reports.tables",
}

__all__ = ["confirmation_frame", "render_report", "trials_frame", "write_report", "write_trials_csv"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'reports' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
