"""Optuna studies over populations of autoencoders: searching, confirming, and the command line.

The names listed here are the public ones; TensorFlow is loaded by `run_study` alone, when it is called.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.launch import run_study
    from search.options import RunOptions
    from search.place import Place, known_place, new_place
    from search.records import load_study

__all__ = ["Place", "RunOptions", "known_place", "load_study", "new_place", "run_study"]

_HOMES = {
    "Place": "search.place",
    "RunOptions": "search.options",
    "known_place": "search.place",
    "load_study": "search.records",
    "new_place": "search.place",
    "run_study": "search.launch",
}


def __getattr__(name: str) -> object:
    """A public name, with which its module is loaded; importing the room alone loads none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
