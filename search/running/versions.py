"""The versions and the machine that a result depends on, beside the definition."""

import platform
from importlib.metadata import PackageNotFoundError, version

from klsearch.vae.machine import processor_name, usable_cores

# Stands between a version and those that earlier parts of the same study were trained with.
EARLIER = " (earlier "
_LIBRARIES = ("klsearch", "tensorflow", "keras", "optuna", "numpy", "pandas", "matplotlib", "joblib")


def provenance() -> dict[str, str]:
    """Versions and machine by name, in display order."""
    versions = {name: _version(name) for name in _LIBRARIES}
    return {
        **versions,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "processor": processor_name(),
        "usable cores": str(usable_cores()),
    }


def name_earlier(before: str, value: str) -> str:
    """A value as it is now, naming every other that was noted `before` of earlier parts of a study, the latest first.

    >>> name_earlier(name_earlier(name_earlier("2.18", "2.19"), "2.20"), "2.20")
    '2.20 (earlier 2.19; 2.18)'
    """
    latest, _, rest = before.partition(EARLIER)
    earlier = [known for known in (latest, *rest.removesuffix(")").split("; ")) if known not in ("", value)]
    return f"{value}{EARLIER}{'; '.join(earlier)})" if earlier else value


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
