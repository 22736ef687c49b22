"""Names that a room offers without loading what they need before they are asked for."""

from collections.abc import Callable, Mapping
from importlib import import_module


def found_in(modules: Mapping[str, str], *, room: str) -> Callable[[str], object]:
    """A room's `__getattr__`: a public name, with which its module is loaded; importing the room alone loads none.

    Args:
        modules: by public name, the module that has it.
        room: the room's name, for who asks for another one.
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return get
