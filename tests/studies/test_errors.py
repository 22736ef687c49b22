"""The errors that a user can act on, and the exit codes by which a shell tells them apart."""

import re

import pytest

from klsearch.studies import errors
from klsearch.studies.errors import (
    DataError,
    DefinitionError,
    KlsearchError,
    StorageError,
    StudyConflict,
    UsageError,
)


def test_the_table_at_the_top_is_that_of_the_classes() -> None:
    told = {name: int(code) for name, code in re.findall(r"(\w+) +(\d)  ", errors.__doc__ or "")}
    classes = (KlsearchError, UsageError, DefinitionError, DataError, StudyConflict, StorageError)
    assert {one.__name__: one.exit_code for one in classes} == told
    assert all(issubclass(one, KlsearchError) for one in classes)


@pytest.mark.parametrize("kind", [KlsearchError, UsageError, DataError, StudyConflict, StorageError])
def test_an_error_of_another_process_keeps_its_exit_code(kind: type[KlsearchError]) -> None:
    error = kind("gone", exit_code=7)
    assert (str(error), error.exit_code) == ("gone", 7)
    assert kind("gone").exit_code == kind.exit_code != 7, "of that one error alone"


def test_a_definition_s_problems_are_one_line_each() -> None:
    error = DefinitionError(["my.toml:2: a", "my.toml:9: b"])
    assert error.problems == ("my.toml:2: a", "my.toml:9: b")
    assert str(error) == "my.toml:2: a\nmy.toml:9: b"
    assert error.lines == error.problems
    assert DataError("a column 'b\nc'", "d").lines == ("a column 'b\nc'", "d")
