"""Text that came from elsewhere, as it may be shown: on a terminal, on a page, in a spreadsheet."""

import re
from collections.abc import Iterable

# Control characters but line ends and tabs, which begin a terminal's commands; line separators of Unicode, lone
# surrogates; what turns the direction of writing, so that text reads other than it is; invisible tags.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def show_hidden(text: str) -> str:
    r"""The text with every character that acts instead of being seen written out, as JSON would.

    >>> show_hidden("\x1b[31mred\u202e")
    '\\u001b[31mred\\u202e'
    """
    return _HIDDEN.sub(_write_out, text)


def as_line(text: str) -> str:
    r"""The text on one line: a line end within a name would let what follows pass for a line of ours.

    >>> as_line("age\nklsearch: all is well")
    'age\\nklsearch: all is well'
    """
    return show_hidden(text).replace("\n", r"\n")


def as_lines(lines: Iterable[str]) -> str:
    """The lines as one text, in which each is one line."""
    return "\n".join(map(as_line, lines))


def as_cell(text: str) -> str:
    r"""The text as a cell of a spreadsheet that is not taken for a formula, which could send others away.

    >>> as_cell('=HYPERLINK("…")'), as_cell("before")
    ('\'=HYPERLINK("…")', 'before')
    """
    return show_hidden(f"'{text}" if text.startswith(_FORMULA) else text)


def _write_out(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
