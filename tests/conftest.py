"""What holds for every test: a quiet TensorFlow, no study of the developer's own, reproducible examples in CI."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

import hypothesis
import pytest

from klsearch.vae.training.devices.driver import VISIBLE, installed_cards, visible_cards

# Read once, when TensorFlow is first imported: so before any test is collected.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A storage that the developer works with must be out of the tests' reach.
os.environ.pop("KLSEARCH_STORAGE", None)
# So must what was measured in the developer's own studies.
_cache = tempfile.TemporaryDirectory(prefix="klsearch-cache-")
os.environ["KLSEARCH_CACHE"] = _cache.name
# Tests are of the processor, whose bits they compare, unless they ask for a card, in processes of their own.
_visible = os.environ.get(VISIBLE)
os.environ[VISIBLE] = "-1"
# A worker of pytest-xdist is told a width, for which tables would be cut.
os.environ.pop("COLUMNS", None)
# A shell starts what it runs in the background with Ctrl-C ignored, which processes of tests would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the first call of a compiled function takes seconds. In CI a failure must not depend on luck.
hypothesis.settings.register_profile("klsearch", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("klsearch")


# Whatever uses one of these fixtures is slow; tests that are slow by themselves bear the mark and say why.
SLOW_FIXTURES = {
    "chromium": "opens a browser",
    "postgres_server": "starts a PostgreSQL server",
    "starting": "starts programs that load TensorFlow, in processes of their own",
    "finished": "searches and confirms a whole study",
}


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what `-m` excludes
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what uses a slow fixture."""
    for item in items:
        for name in SLOW_FIXTURES.keys() & getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow(SLOW_FIXTURES[name]))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; its tests are left out where there is none, and fail if KLSEARCH_REQUIRE_BROWSER is set."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    missing = "needs Chromium, such as Debian's package chromium"
    if os.environ.get("KLSEARCH_REQUIRE_BROWSER"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def card() -> dict[str, str]:
    """The environment of processes that train on a card.

    Its tests are left out where TensorFlow sees none, and fail if KLSEARCH_REQUIRE_CARD is set.
    """
    hidden = {name: value for name, value in os.environ.items() if name != VISIBLE}
    environment = hidden if _visible is None else hidden | {VISIBLE: _visible}
    if visible_cards(installed_cards(), environment) and _sees_a_card(environment):
        return environment
    missing = "needs an NVIDIA card that TensorFlow sees: make gpu"
    if os.environ.get("KLSEARCH_REQUIRE_CARD"):
        pytest.fail(f"{missing}; klsearch doctor says what is missing")
    pytest.skip(missing)


@pytest.fixture(autouse=True)
def left_out_without_a_card(request: pytest.FixtureRequest) -> None:
    """Leave out what is marked so, also a case of a test whose others need no card."""
    if request.node.get_closest_marker("gpu"):
        request.getfixturevalue("card")


def _sees_a_card(environment: dict[str, str]) -> bool:
    code = "import tensorflow as tf; raise SystemExit(not tf.config.list_physical_devices('GPU'))"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).returncode == 0
