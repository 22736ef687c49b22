"""The versions and the machine that a result depends on, beside the definition."""

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version

from klsearch.vae.host.machine import processor_name, usable_cores

# Stands between a version and those that earlier parts of the same study were trained with.
EARLIER = " (earlier "
_MISSING = "not installed"
DECIDING = ("klsearch", "tensorflow", "keras", "optuna", "numpy")
"""The packages by whose versions trials come out differently."""
_LIBRARIES = (*DECIDING, "pandas", "matplotlib", "joblib")
PROCESSOR, DEVICE = "processor", "trained on"
"""The names under which provenance holds the processor, and the device that trains."""


def provenance(device: str = "") -> dict[str, str]:
    """Versions and machine by name, in display order.

    Args:
        device: what this process trains on; empty where it trains nothing.
    """
    versions = {name: _version(name) for name in _LIBRARIES}
    return {
        **versions,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        PROCESSOR: processor_name(),
        "usable cores": str(usable_cores()),
        **({DEVICE: device} if device else {}),
    }


def name_earlier(before: str, value: str) -> str:
    """A value as it is now, naming every other that was noted `before` of earlier parts of a study, the latest first.

    >>> name_earlier(name_earlier(name_earlier("2.18", "2.19"), "2.20"), "2.20")
    '2.20 (earlier 2.19; 2.18)'
    """
    latest, _, rest = before.partition(EARLIER)
    earlier = [known for known in (latest, *rest.removesuffix(")").split("; ")) if known not in ("", value)]
    return f"{value}{EARLIER}{'; '.join(earlier)})" if earlier else value


def find_missing(package: str, extra: str) -> list[str]:
    """The packages that an extra of a package asks for and that are not installed; the package itself, if it is not."""
    try:
        declared = requires(package) or []
    except PackageNotFoundError:
        return [package]
    of_extra = [line for line in declared if re.search(rf"""extra\s*==\s*['"]{re.escape(extra)}['"]""", line)]
    names = [found[0] for line in of_extra if (found := re.match(r"[\w.-]+", line))]
    return [name for name in names if _version(name) == _MISSING]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return _MISSING
