"""Records in, HTML out: tables, figures and the self-contained report. Neither TensorFlow nor Optuna."""

from typing import TYPE_CHECKING

from vae.lazily import found_in

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

__getattr__ = found_in(
    {
        "confirmation_frame": "reports.tables",
        "render_comparison": "reports.report",
        "render_report": "reports.report",
        "trials_frame": "reports.tables",
        "write_comparison": "reports.report",
        "write_report": "reports.report",
        "write_trials_csv": "reports.tables",
    },
    room=__name__,
)
