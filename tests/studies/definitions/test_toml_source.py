"""Where keys stand in a TOML text."""

import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from klsearch.studies.definitions.toml_source import KeyPath, find_deeper, key_lines

TEXT = '''# a comment with [brackets] and key = 1
top = 1
"quo ted".x = 2 # [no table]

[study]
name = "a # [b]"
text = """
[not.a.table]
k = 1 "" """
literal = \'\'\'
z = 1\'\'\'
kl_band = [ # comment
  0.0,
  5.0,
]
[space.l2]
low = 1
[space]
kl_weight = {low = 1e-4, high = {a.b = [1, {c = 2}]}}
when = 1979-05-27T07:32:00Z
[ spaced . "out" ]
empty = []
quotes = """a"""""
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("quo ted", "x"), 3),
        (("study",), 5),
        (("study", "name"), 6),
        (("study", "literal"), 10),
        (("study", "kl_band"), 12),
        (("study", "kl_band", 1), 14),
        (("space", "l2", "low"), 17),
        (("space", "kl_weight", "high", "a", "b", 1, "c"), 19),
        (("space", "when"), 20),
        (("spaced", "out"), 21),
        (("spaced", "out", "quotes"), 23),
    ],
)
def test_a_key_has_the_line_on_which_it_is_written(path: KeyPath, line: int) -> None:
    assert key_lines(TEXT)[path] == line


def test_a_table_has_the_line_of_its_own_header_even_after_one_of_its_subtables() -> None:
    assert key_lines(TEXT)[("space",)] == 18


def test_text_inside_strings_is_no_key() -> None:
    assert ("not", "a", "table") not in key_lines(TEXT)
    assert ("study", "k") not in key_lines(TEXT)


def test_arrays_of_tables_are_counted_from_zero_with_their_subtables() -> None:
    lines = key_lines("[[run]]\na = 1\n[run.sub]\nq = 1\n[[run]]\na = 2\n[[run.deep]]\nv = 1\n")
    assert lines[("run", 0, "sub", "q")] == 4
    assert lines[("run", 1, "a")] == 6
    assert lines[("run", 1, "deep", 0, "v")] == 8


def test_windows_line_ends_count_once() -> None:
    assert key_lines("[a]\r\nb = 1\r\nc = 2\r\n")[("a", "c")] == 3


def test_what_is_not_toml_is_refused() -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        key_lines("a = ")


def _paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} - {()} | {below for key, entry in entries for below in _paths(entry, (*path, key))}


_keys = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=("Cc", "Cs")), max_size=6)
_values = st.recursive(
    st.integers(-9, 9) | st.booleans() | st.floats(allow_nan=False) | _keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_keys, _values, max_size=4))
def test_every_key_of_any_document_is_found(document: dict[str, Any]) -> None:
    text = tomlkit.dumps(document)
    assert set(key_lines(text)) == _paths(tomllib.loads(text))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a.b.c = 1", 0),
        ("a.b.c.d = 1", 1),
        ("[a.b.c]\nd.e.f = {g.h.i = 1.5}", 0),
        ("[a.b]\n[[a.b.c . 'd']]", 2),
        ("a = [[[1]], [[2]]]\nb = [\n[[[3]]]]", 3),
        ('a = "[[[[ x.y.z.w \\" [[[["\n# [[[[ x.y.z.w\nb = \'[[[[\'', 0),
        ('a = """[[[[\nx.y.z.w""\\""""\nb = \'\'\'[[[[\'\'\'', 0),
        ('a = """[[[[', 0),
        ('a = "[[[[\nb = [[[[', 2),
    ],
)
def test_what_is_nested_too_deeply_is_found_with_its_line_outside_of_texts_and_comments(text: str, line: int) -> None:
    assert find_deeper(text, 3) == line
