"""Code of the user's own, by its name, and what its errors are told as."""

import difflib
import importlib
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from klsearch.vae.host.quiet import hide_start_up_lines

_OURS = Path(__file__).parents[2]
_END = 300  # characters, of an error's text that is longer than its two ends
_FUNCTION = re.compile(r"([A-Za-z_][\w.]*|.+\.py):[A-Za-z_]\w*")


class CodeProblem(ValueError):
    """Code or a model of the user's own that is not there, or cannot be loaded; the message says what and why."""


def is_function(source: str) -> bool:
    """Tell whether the source is written as "package.module:function" or "file.py:function"."""
    return _FUNCTION.fullmatch(source) is not None


def load_function(source: str, folder: Path) -> Any:
    """The function that "package.module:function" names: see `load_object`.

    Raises:
        CodeProblem: there is none, or importing its module failed.
    """
    found = load_object(source, folder)
    if not callable(found):
        raise CodeProblem(f"{source}: is no function, but of type {type(found).__name__}")
    return found


def load_object(source: str, folder: Path) -> Any:
    """The object that "package.module:name" or "file.py:name" names; `folder` is looked in after everything installed.

    Raises:
        CodeProblem: there is no such module or object, or importing it failed, with the line that raised.
    """
    module_name, _, name = source.rpartition(":")
    folder = folder.resolve()
    file = folder / module_name if module_name.endswith(".py") else None
    if file is not None:
        if not file.is_file():
            raise CodeProblem(f"{source}: there is no file {file}")
        module_name, folder = file.stem, file.resolve().parent
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # Last, so that a file of the user's hides no package.
    importlib.invalidate_caches()
    try:
        with hide_start_up_lines():  # the user's own module may be the first to load TensorFlow
            module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise CodeProblem(f"{source}: no module '{error.name}' in {folder} or among what is installed") from error
        raise CodeProblem(f"{source}: importing it failed: {with_line(error, folder)}") from error
    if file is not None and not (module.__file__ and file.samefile(module.__file__)):
        raise CodeProblem(f"{source}: Python finds {module.__file__} by that name; call the file something else")
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, [known for known in vars(module) if not known.startswith("_")], n=1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        raise CodeProblem(f"{source}: {module.__file__} has no '{name}'{hint}")
    return getattr(module, name)


def with_line(error: BaseException, folder: Path) -> str:
    """The error with the last line of the user's own that led to it; without a line where we raised it ourselves."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    within = [frame for frame in frames if Path(frame.filename).is_relative_to(folder.resolve())]
    own = [frame for frame in within if "site-packages" not in Path(frame.filename).parts]  # an environment's
    if not own and Path(frames[-1].filename).is_relative_to(_OURS):
        return one_line(error)
    last = (own or frames)[-1]
    return f"{one_line(error)} ({last.filename}:{last.lineno})"


def one_line(error: BaseException) -> str:
    """The kind of an error and its text, a long one without its middle; code of the user's own may give that."""
    try:
        words = " ".join(str(error).split())
    except KeyboardInterrupt:
        raise
    except BaseException as another:
        words = f"its text raises {type(another).__name__}"
    if len(words) > 2 * _END:
        words = f"{words[:_END]} … {words[-_END:]}"
    return f"{type(error).__name__}: {words}"
