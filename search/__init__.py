"""Optuna studies over populations of autoencoders: searching, confirming, and the command line.

The names listed here are the public ones; TensorFlow is loaded by `run_study` alone, when it is called.
"""

from typing import TYPE_CHECKING

from vae.lazily import found_in

if TYPE_CHECKING:
    from search.launch import run_study
    from search.options import RunOptions
    from search.place import Place, known_place, new_place
    from search.records import load_study

__all__ = ["Place", "RunOptions", "known_place", "load_study", "new_place", "run_study"]

__getattr__ = found_in(
    {
        "Place": "search.place",
        "RunOptions": "search.options",
        "known_place": "search.place",
        "load_study": "search.records",
        "new_place": "search.place",
        "run_study": "search.launch",
    },
    room=__name__,
)
