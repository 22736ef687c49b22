"""Text that came from elsewhere, as it may be shown."""

import json
import unicodedata

import pytest

from klsearch.reports.visible import as_cell, as_line, as_lines, show_hidden


def test_whatever_acts_instead_of_being_seen_is_written_out() -> None:
    kept = {"\n", "\t", "\u00ad", "\u200b", "\u200c", "\u200d"}  # what joins and parts letters is part of the text
    for char in map(chr, range(0x3000)):
        acts = unicodedata.category(char) in ("Cc", "Zl", "Zp") or (
            unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        )
        assert not acts or char in kept or show_hidden(char).startswith("\\u"), hex(ord(char))
    assert show_hidden("\u200e\u200f\u061c\ufeff") == r"\u200e\u200f\u061c\ufeff"


@pytest.mark.parametrize("text", ["", "two\nlines\tand a tab", "é 漢字 👩‍🔬", "עברית", "\\u001b"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert show_hidden(text) == text


@pytest.mark.parametrize("text", ["\x7f\x9b31m\u202e", "\U000e0041", "\x85"])
def test_a_json_document_means_the_same_afterwards(text: str) -> None:
    shown = show_hidden(json.dumps({text: text}, ensure_ascii=False))
    assert json.loads(shown) == {text: text}
    assert shown.isascii()


def test_a_line_stays_one_line_whatever_it_holds() -> None:
    for char in map(chr, range(0x3000)):
        assert len(as_line(f"a{char}b").splitlines()) == 1, hex(ord(char))
    assert as_lines(["two\nlines", "", "a\ttab"]) == "two\\nlines\n\na\ttab"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert as_cell(text) == f"'{text}"
    assert as_cell(f"a{text}") == f"a{text}"
