"""A sound definition, and what is wrong with it after a change."""

from collections.abc import Callable

import pytest

from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import DefinitionError

GOOD = """\
[study]
name = "mine"
trials = 20
[data]
source = "digits"
[model]
kind = "dense"
hidden = [16]
latent_dim = 4
[training]
epochs = 40
[space]
kl_weight = { low = 1e-4, high = 1.0, log = true }
clip_low = { low = -20, high = -4 }
clip_high = 2
annealing_epochs = { low = 0, high = 20 }
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        parse_definition(text, "my.toml")
    return list(caught.value.problems)


@pytest.fixture(scope="session")
def good() -> str:
    """A sound definition."""
    return GOOD


@pytest.fixture(scope="session")
def problems() -> Callable[[str], list[str]]:
    """A function that gives the problems of a text that is no sound definition."""
    return problems_of


@pytest.fixture(scope="session")
def only_problem() -> Callable[[str, str], str]:
    """A function that gives the one problem of the sound definition after a change of its text."""

    def find(old: str, new: str) -> str:
        assert old in GOOD
        found = problems_of(GOOD.replace(old, new))
        assert len(found) == 1, found
        return found[0]

    return find
