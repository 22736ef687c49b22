"""Printing results: on a terminal in colour and broken between words, elsewhere as plain lines.

No heavy library is loaded with this module: it prints the errors of commands that end at once.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Any, TextIO

import click

from klsearch.reports.visible import show_hidden
from klsearch.vae.host.quiet import results_apart_to

_WIDEST = 100
_STYLES: tuple[tuple[str, dict[str, Any]], ...] = (
    (r"STABLE, WITH CAVEATS(?=:)", {"fg": "yellow", "bold": True}),
    (r"STABLE(?=:)", {"fg": "green", "bold": True}),
    (r"NOT STABLE(?=:)", {"fg": "red", "bold": True}),
    (r"NOT ENOUGH EVIDENCE(?=:)", {"fg": "yellow", "bold": True}),
    (r"klsearch(?=: )", {"fg": "red", "bold": True}),
    (r"warning(?=: )", {"fg": "yellow", "bold": True}),
    (r"(note|Next|Then|Report)(?=: )", {"bold": True}),
)


def echo(message: object, *, err: bool = False, nl: bool = True) -> None:
    """Print as it is, on standard output unless `err`: no text from elsewhere acts on the terminal.

    Line ends stay, so whoever makes lines of names makes them by `as_line`.
    """
    click.echo(show_hidden(str(message)), file=None if err else results_apart_to(), err=err, nl=nl)


def show(text: str, *, err: bool = False) -> None:
    """Print a text; indented lines, which are code or tables, are never broken."""
    apart = None if err else results_apart_to()
    stream, text = apart or (sys.stderr if err else sys.stdout), show_hidden(text)
    if stream.isatty():
        width = terminal_width()
        text = "\n".join(_wrap(line, width) for line in text.split("\n"))
        if has_colors(stream):
            text = "\n".join(map(_decorate, text.split("\n")))
    click.echo(text, file=apart, err=err, color=True if has_colors(stream) else None)


def show_in_place(texts: Iterable[str]) -> None:
    """Print texts, each in place of the one before on a terminal; elsewhere one below the other."""
    if not sys.stdout.isatty():
        for text in texts:
            show(text)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=sys.stdout, highlight=False), auto_refresh=False) as live:
        for text in texts:
            live.update(Text(show_hidden(text)), refresh=True)


def table_width() -> int | None:
    """The columns that a table on standard output should fit: those of the terminal; None in a file or a pipe.

    Whoever sets COLUMNS says it for either.
    """
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return max(40, shutil.get_terminal_size().columns)
    return None


def terminal_width() -> int:
    """The columns of the terminal, of which a line of text fills a hundred at the most."""
    return min(max(20, shutil.get_terminal_size().columns), _WIDEST)


def has_colors(stream: TextIO) -> bool:
    """Tell whether a stream takes colours, and its reader has not asked for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _wrap(line: str, width: int) -> str:
    if len(line) <= width or line.startswith("  "):
        return line
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)


def _decorate(line: str) -> str:
    """The line with the word that says what it is in bold."""
    for pattern, style in _STYLES:
        if found := re.match(pattern, line):
            return click.style(found[0], **style) + line[found.end() :]
    return line
