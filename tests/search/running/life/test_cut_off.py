"""Two processes on one study in PostgreSQL, whose connections are cut again and again."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage
from tests.search.storage.database.cutting_proxy import Cut, CuttingProxy

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process

# Against hanging: how fast a machine trains is not what is tested.
LONGEST_SECONDS = 900
APART = 41  # statements


@pytest.mark.faults
@pytest.mark.parametrize("cut", ["question", "answer", "late"])
def test_two_workers_cut_off_again_and_again_end_as_one_that_nothing_happened_to(
    cut: Cut,
    start: Callable[..., "Process"],
    command: list[str],
    klsearch: Callable[..., "Called"],
    new_database: Callable[[], str],
    outcomes: Callable[[Iterable[Row]], list[dict[str, Any]]],
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    definition = write(tmp_path, ("epochs = 12", "epochs = 60"))
    options = ("--slots", 2, "--no-progress")  # so that neither process can have all trials that may be in training
    url = f"journal:///{tmp_path / 'journal'}"
    whole = klsearch("run", definition, "--out", tmp_path / "whole", "--storage", url, *options)
    assert whole.code == 0, whole.err
    database = new_database()
    proxy = CuttingProxy(database, lambda number, text: number % APART == APART - 1, cut)

    def begin(index: int) -> "Process":
        arguments = ("run", definition, "--out", tmp_path / f"w{index}", "--storage", proxy.url, *options)
        return start(*command, *arguments, cwd=tmp_path, err=tmp_path / f"err{index}")

    workers, until = {index: begin(index) for index in range(2)}, time.monotonic() + LONGEST_SECONDS
    while workers:
        for index, worker in list(workers.items()):
            if worker.poll() == 0:
                del workers[index]
            elif worker.returncode is not None:
                last = (tmp_path / f"err{index}").read_text().splitlines()[-1]
                waits = worker.returncode == 4 and "cannot open the storage" in last
                assert waits, "it is waited for once it has answered"
                workers[index] = begin(index)
        assert time.monotonic() < until
        time.sleep(0.1)
    proxy.close()
    said = "".join((tmp_path / f"err{index}").read_text() for index in range(2))
    assert "Traceback" not in said and "sw0rdfish" not in said
    assert proxy.cuts > 20
    print(f"{proxy.cuts} of {proxy.statements} statements cut off, losing the {cut}")
    with open_storage(url, create=False) as expected, open_storage(database, create=False) as reached:
        alone, together = (StudyStorage.load(storage, "tiny") for storage in (expected, reached))
        assert [row.number for row in together.rows()] == list(range(24))
        assert outcomes(together.rows()) == outcomes(alone.rows())
        assert outcomes(together.confirmation_rows()) == outcomes(alone.confirmation_rows())
        assert len({row.owner for row in together.rows()}) >= 2
        assert len(together.facts.test_looks) == len(alone.facts.test_looks) == 1
        assert together.facts.winner == alone.facts.winner
