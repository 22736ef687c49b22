"""The errors that a user can act on; the command line shows each as plain lines, without a traceback.

    KlsearchError        1  something failed
    ├── UsageError       2  a command's argument does not fit: no such run folder, an option out of range
    ├── DefinitionError  2  the study definition, every problem at once
    ├── DataError        2  the data
    ├── StudyConflict    2  the study exists under another definition
    └── StorageError     4  the storage cannot be reached, read or written

The number is the exit code.
"""

from collections.abc import Sequence


class KlsearchError(Exception):
    """Something failed for a reason that is said in full by the message.

    Args:
        lines: the reason, as a rule in one line.
        exit_code: where it is not that of the class: of an error that another process had.

    Attributes:
        lines: as given; a line end within one belongs to a name that it holds.
    """

    exit_code = 1

    def __init__(self, *lines: str, exit_code: int | None = None) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(KlsearchError):
    """A command's argument does not fit what is there."""

    exit_code = 2


class DefinitionError(KlsearchError):
    """A study definition that cannot be run.

    Attributes:
        problems: every problem, one line each, with its place: "digits.toml:12: space.kl_weight.hihg: …".
    """

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(*problems)
        self.problems = tuple(problems)


class DataError(KlsearchError):
    """Data that cannot be read or trained on."""

    exit_code = 2


class StudyConflict(KlsearchError):
    """A study of that name exists under another definition."""

    exit_code = 2


class StorageError(KlsearchError):
    """The storage cannot be reached, read or written."""

    exit_code = 4
