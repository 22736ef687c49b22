"""The versions and the machine that a result depends on."""

import json
import os
import platform
import sys
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.search.running.versions import find_missing, name_earlier, provenance


def noted_after(values: list[str]) -> str:
    """What is noted when a study was trained with each of these, one after the other."""
    noted = values[0]
    for value in values:
        noted = name_earlier(noted, value)
    return noted


@pytest.mark.parametrize(
    ("values", "noted"),
    [
        (["1"], "1"),
        (["1", "1"], "1"),
        (["1", "2"], "2 (earlier 1)"),
        (["1", "2", "3"], "3 (earlier 2; 1)"),
        (["1", "2", "1"], "1 (earlier 2)"),
        (["1", "2", "3", "1", "2"], "2 (earlier 1; 3)"),
        (["Linux 6 (x86_64)", "Linux 7 (x86_64)"], "Linux 7 (x86_64) (earlier Linux 6 (x86_64))"),
        (["A (a)", "B (b)", "C (c)", "C (c)"], "C (c) (earlier B (b); A (a))"),
        (["", "2"], "2"),  # nothing was noted then
    ],
)
def test_the_versions_of_earlier_parts_stay_named_the_latest_first(values: list[str], noted: str) -> None:
    assert noted_after(values) == noted


@given(st.lists(st.sampled_from(["2.9", "2.10", "not installed", "Linux 6 (x86_64)"]), min_size=1, max_size=12))
def test_every_version_is_named_once_by_when_it_was_used_last(values: list[str]) -> None:
    latest, *earlier = dict.fromkeys(reversed(values))
    assert noted_after(values) == (f"{latest} (earlier {'; '.join(earlier)})" if earlier else latest)


def test_provenance_names_what_runs_here() -> None:
    found = provenance()
    assert list(found)[-4:] == ["python", "system", "processor", "usable cores"]
    for name in ("klsearch", "tensorflow", "keras", "optuna", "numpy"):
        assert found[name] == version(name)
    assert found["python"] == sys.version.split()[0]
    assert found["system"].startswith(platform.system())
    assert found["processor"]
    assert 1 <= int(found["usable cores"]) <= (os.cpu_count() or 1)
    assert json.loads(json.dumps(found)) == found
    assert list(provenance("NVIDIA H200").items()) == [*found.items(), ("trained on", "NVIDIA H200")]


def test_what_an_extra_lacks_is_told_by_name() -> None:
    assert find_missing("a-package-that-nobody-has-made", "") == ["a-package-that-nobody-has-made"]
    assert find_missing("psycopg", "binary") == []
    assert find_missing("optuna", "an-extra-that-it-does-not-have") == []
