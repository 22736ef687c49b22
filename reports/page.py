"""The parts of a report page: plain records without HTML, which the template turns into markup."""

from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["plain", "good", "caution", "bad"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A table cell that says something good or bad; the word carries the meaning, the colour repeats it."""

    text: str
    tone: Tone


Cell = str | Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A small table; each row's first cell names the row.

    Attributes:
        caption: what the rows are.
        columns: the headings.
        rows: cells as the reader sees them.
        words: places of the columns that hold words and so stand on the left; the others hold numbers.
        targets: unique in the page, names of the rows to which markers of figures lead; empty where none does.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: tuple[int, ...] = (0,)
    targets: tuple[str, ...] = ()
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """A paragraph; words in backticks are set as code."""

    text: str
    tone: Tone = "plain"
    kind: Literal["prose"] = "prose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: Literal["heading"] = "heading"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Text to copy.

    Attributes:
        label: what it is.
        text: verbatim.
        copyable: whether it is meant to be pasted somewhere.
    """

    label: str
    text: str
    copyable: bool = True
    kind: Literal["code"] = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One figure.

    Attributes:
        identity: unique in the page.
        title: what is drawn.
        caption: how to read it.
        alternative: the text that stands for the picture, made of its numbers.
        svg: the drawing, as markup.
        data: the numbers behind it.
    """

    identity: str
    title: str
    caption: str
    alternative: str
    svg: str = field(repr=False)
    data: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    """The drawing of one candidate or outcome, named.

    Attributes:
        label: who or what it is.
        color: a CSS colour.
        path: its marker as an SVG path in a box of ±5.
        dashes: of its line; None where only markers are drawn.
        filled: whether the marker is filled.
    """

    label: str
    color: str
    path: str
    dashes: str | None = None
    filled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Figures that belong together, under one legend."""

    exhibits: tuple[Exhibit, ...]
    legend: tuple[LegendEntry, ...] = ()
    kind: Literal["gallery"] = "gallery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names with their values; a value of several lines keeps them."""

    pairs: tuple[tuple[str, str], ...]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of advice: what to do, why with its numbers, and the text to paste where there is one."""

    action: str
    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Advice in the order of importance."""

    items: tuple[Step, ...]
    kind: Literal["steps"] = "steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """The trials that are shown, and the files of all of them.

    Attributes:
        table: the rows shown.
        outcomes: what became of each row's trial, for the filter.
        shown: a sentence on which trials are shown.
        files: names and data URLs of the files; the first holds all trials.
        text_columns: columns of that file that hold text, for the JSON made of it.
    """

    table: Table
    outcomes: tuple[str, ...]
    shown: str
    files: tuple[tuple[str, str], ...] = field(repr=False)
    text_columns: tuple[str, ...]
    kind: Literal["trials"] = "trials"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Blocks that are shown when asked for."""

    summary: str
    blocks: tuple["Block", ...]
    kind: Literal["fold"] = "fold"


Block = Table | Prose | Heading | Code | Gallery | Facts | Steps | TrialTable | Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question and its answer."""

    identity: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number at the top."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """The verdict.

    Attributes:
        word: as `vae.diagnostics.gates.Verdict` has it, with a capital.
        tone: chooses shape and colour.
        sentence: why.
        tiles: the numbers to know.
        partial: what is still missing; empty when the study is finished.
        resume_command: what goes on with it.
        outdated: what finished since the winner was confirmed; empty where nothing did.
    """

    word: str
    tone: Tone
    sentence: str
    tiles: tuple[Tile, ...]
    partial: str = ""
    resume_command: str = ""
    outdated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole report.

    Attributes:
        study: whose it is.
        banner: the verdict.
        sections: in the order of reading.
        as_of: when the last record was written; empty where there is none.
        kind: what it is, and of what, before the study's name.
        origin: what it was written from.
    """

    study: str
    banner: Banner
    sections: tuple[Section, ...]
    as_of: str
    kind: str = "report · study"
    origin: str = "the study's records"
