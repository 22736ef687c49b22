"""Where each key of a TOML text stands, which neither tomllib nor tomlkit tells."""

import re
import tomllib

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]+")
# The longer quotes first, since three begin with one.
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
# Of a text that may yet be no TOML: strings, whose end may be missing, and comments are passed over.
_NESTING = re.compile(
    r'"""(?:[^\\]|\\.)*?(?:"{3,5}|\Z)|\'\'\'.*?(?:\'{3,5}|\Z)'
    r'|"(?:[^"\\\n]|\\[^\n])*"?|\'[^\'\n]*\'?|#[^\n]*|[\[\]{}.=,\n]',
    re.DOTALL,
)


def find_deeper(text: str, most: int) -> int:
    r"""The line, from 1, of the first key of more parts, or bracket within more others, than `most`; 0 for none.

    The text may be no TOML. tomllib and we would read thousands of them for many seconds, to fail for want of stack.

    >>> find_deeper("[a]\nb.c = 1.5 # x.y.z\nd = [[[]]]", 2)
    3
    """
    depth = parts = 0
    for found in _NESTING.finditer(text):
        mark = found.group()
        if mark == ".":
            parts += 1
        elif mark in ("=", ",", "\n", "[", "{", "]", "}"):
            parts = 0
            depth = max(0, depth + (mark in "[{") - (mark in "]}"))
        if parts >= most or depth > most:
            return text.count("\n", 0, found.start()) + 1
    return 0


def key_lines(text: str) -> dict[KeyPath, int]:
    r"""The line, from 1, of every key and every array entry of a TOML text, by its path.

    A table's line is its header's, or that of the first key that mentions it. The entries of an array of tables are
    counted from 0.

    >>> key_lines("[space]\n# the weight\nkl_weight = {low = 0.1, high = 1}")[("space", "kl_weight", "high")]
    3

    Raises:
        tomllib.TOMLDecodeError: the text is not TOML.
    """
    tomllib.loads(text)  # The scanner trusts what it reads.
    return _Scanner(text).scan()


class _Scanner:
    """One pass over a valid TOML text; the position only moves forward."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._last_index: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._peek():
            if self._peek() == "[":
                table = self._header()
            else:
                self._assignment(table)
        return self._lines

    def _peek(self) -> str:
        """The next character that is neither blank nor in a comment; empty at the end."""
        self._skip(_BLANK)
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, f"not TOML at character {self._at}"
        self._at = found.end()
        return found.group()

    def _note(self, path: KeyPath, start: int) -> None:
        """Remember the line of a path, and of the tables it opens on its way."""
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], self._line(start))

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _key(self) -> KeyPath:
        """A key, dotted or not: a.b."c d" gives ("a", "b", "c d")."""
        parts: list[str] = []
        while not parts or self._peek() == ".":
            self._at += 1 if parts else 0
            quoted = self._peek() in ('"', "'")
            part = self._skip(_STRING if quoted else _BARE_KEY)
            parts.append(next(iter(tomllib.loads(f"{part} = 0"))) if quoted else part)
        return tuple(parts)

    def _header(self) -> KeyPath:
        """The path that `[table]` or `[[array of tables]]` opens."""
        self._at += 1
        of_array = self._peek() == "["
        self._at += 1 if of_array else 0
        self._peek()
        start, name = self._at, self._key()
        path = self._within_last(name[:-1]) + name[-1:]
        if of_array:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path += (self._last_index[path],)
        self._note(path, start)
        self._lines[path] = self._line(start)  # also where an earlier header has opened it on its way
        self._peek()
        self._at += 2 if of_array else 1
        return path

    def _within_last(self, path: KeyPath) -> KeyPath:
        """The path with the index of the last entry put in after every array of tables."""
        inner: KeyPath = ()
        for part in path:
            inner += (part,)
            if inner in self._last_index:
                inner += (self._last_index[inner],)
        return inner

    def _assignment(self, table: KeyPath) -> None:
        self._peek()
        start, path = self._at, table + self._key()
        self._note(path, start)
        self._peek()
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        opening = self._peek()
        if opening in ('"', "'"):
            self._skip(_STRING)
        elif opening in ("[", "{"):
            self._entries(path, closing="]" if opening == "[" else "}")
        else:
            self._skip(_BARE_VALUE)

    def _entries(self, path: KeyPath, closing: str) -> None:
        """The values of an array, or the assignments of an inline table."""
        self._at += 1
        index = 0
        while self._peek() != closing:
            if closing == "}":
                self._assignment(path)
            else:
                self._note((*path, index), self._at)
                self._value((*path, index))
            index += 1
            self._at += 1 if self._peek() == "," else 0
        self._at += 1
