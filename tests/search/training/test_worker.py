"""One worker among those of a study."""

from dataclasses import replace

import pytest

from klsearch.search.storage.process import Owner, this_process
from klsearch.search.training.worker import Worker

DEAD = replace(this_process(), started="1")
ELSEWHERE = replace(this_process(), host="elsewhere")


@pytest.mark.parametrize(("owner", "may_take"), [(this_process(), True), (DEAD, True), (ELSEWHERE, False)])
def test_a_running_row_may_be_taken_from_oneself_and_from_whom_the_system_knows_to_be_dead(
    owner: Owner, may_take: bool
) -> None:
    assert Worker(owner=this_process()).may_take(owner) is may_take


def test_a_worker_asks_whether_others_are_dead_but_never_whether_it_is_itself() -> None:
    asked: list[Owner] = []

    def is_dead(owner: Owner) -> bool:
        asked.append(owner)
        return owner == ELSEWHERE

    worker = Worker(owner=this_process(), is_dead=is_dead)
    assert [worker.may_take(owner) for owner in (this_process(), ELSEWHERE, DEAD)] == [True, True, False]
    assert asked == [ELSEWHERE, DEAD]
