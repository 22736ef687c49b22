"""How long a report of ten thousand trials takes."""

import time
from typing import Any

from klsearch.reports.report import render_report
from tests.reports.conftest import many_trials


def measure_report() -> dict[str, Any]:
    """Processor seconds of a first report, which loads what it takes, and of a further one; the page's size in MB."""
    study, other = many_trials(), many_trials()
    began = time.process_time()
    render_report(study)
    first = time.process_time()
    page = render_report(other)  # the response of a study is fitted once
    return {
        "trials": len(study.trials),
        "first_seconds": first - began,
        "seconds": time.process_time() - first,
        "megabytes": len(page.encode()) / 1e6,
    }
