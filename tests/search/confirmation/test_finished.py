"""For what a confirmation was finished."""

from pathlib import Path

from klsearch.search.confirmation.finished import confirmation_digest
from klsearch.studies.definitions.catalog import load_definition, override
from klsearch.studies.definitions.parsing import parse_definition


def test_whatever_changes_what_is_proven_changes_the_digest_and_nothing_else_does(definition_file: Path) -> None:
    text = definition_file.read_text()
    digest = confirmation_digest(parse_definition(text, "tiny.toml"), [0, 1, 2])
    for old, new in (("seeds = 8", "seeds = 9"), ("kl_weight = 0.1", "kl_weight = 0.2"), ("window = 2", "window = 3")):
        changed = parse_definition(text.replace(old, new), "tiny.toml")
        assert confirmation_digest(changed, [0, 1, 2]) != digest
    same = override(load_definition(definition_file), trials=99).definition
    assert confirmation_digest(same, [2, 1, 0]) == digest
    assert confirmation_digest(same, [0, 1, 2, 3]) != digest
