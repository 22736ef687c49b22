from .reports.report import render_comparison, render_report, write_comparison, write_report
from .reports.figures.plots import plot_curves, plot_kl_weight, plot_proof
from .reports.tables import confirmation_frame, curves_frame, trials_frame, write_trials_csv
from .search.run_study import run_study
from .search.terminal.monitor import KLMonitor
from .search.running.options import RunOptions
from .search.storage.place import Place, known_place, new_place
from .search.storage.records import load_study
from .search.terminal.progress import Progress
from .studies.definitions.catalog import LoadedDefinition, define_study, load_definition
from .studies.errors import KlsearchError
from .studies.record import StudyRecord
from .studies.summary import summarize
from .vae.layers import SearchedDropout

__all__ = [
    "KLMonitor",
    "KlsearchError",
    "LoadedDefinition",
    "Place",
    "Progress",
    "RunOptions",
    "SearchedDropout",
    "StudyRecord",
    "confirmation_frame",
    "curves_frame",
    "define_study",
    "known_place",
    "load_definition",
    "load_study",
    "new_place",
    "plot_curves",
    "plot_kl_weight",
    "plot_proof",
    "render_comparison",
    "render_report",
    "run_study",
    "summarize",
    "trials_frame",
    "write_comparison",
    "write_report",
    "write_trials_csv",
]
