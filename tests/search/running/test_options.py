"""Options for running a study."""

import pytest

from klsearch.search.running.options import RunOptions


@pytest.mark.parametrize(
    ("options", "here"),
    [
        (RunOptions(), True),
        (RunOptions(workers=2), False),
        (RunOptions(scheduler="tcp://127.0.0.1:8786"), False),  # with as many workers as the cluster has
    ],
)
def test_a_study_is_run_in_this_process_unless_workers_are_asked_for(options: RunOptions, here: bool) -> None:
    assert options.in_this_process is here
