"""`run_study` as a program of the user's own calls it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from klsearch.search.run_study import run_study
from klsearch.search.running.options import RunOptions
from klsearch.search.storage.place import new_place
from klsearch.search.terminal.progress import EndedTraining
from klsearch.studies.definitions.catalog import load_definition, override

pytestmark = pytest.mark.slow("searches whole studies")


class Interrupted:
    """Presses a notebook's stop button when the first trial has ended."""

    pressed = False

    def say(self, line: str) -> None: ...

    def begin(
        self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = ""
    ) -> None: ...

    def count(self, ended: EndedTraining | None) -> None:
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None: ...


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_that_nobody_listens_for_reaches_the_caller_and_the_study_goes_on_later(
    definition_file: Path, tmp_path: Path, workers: int
) -> None:
    loaded = override(load_definition(str(definition_file)), trials=8)
    place, options = new_place("tiny", out=tmp_path / "run"), RunOptions(slots=4, confirm=False, workers=workers)
    with pytest.raises(KeyboardInterrupt):
        run_study(loaded, place, options, progress=Interrupted())
    assert not (place.folder / "report.html").exists()
    record = run_study(loaded, place, options)
    assert len(record.counted) == 8
    assert (place.folder / "report.html").exists()
