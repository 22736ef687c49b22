"""The last short batch."""

from klsearch.vae.diagnostics.audit.batches import batch_findings
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from tests.vae.diagnostics.audit.styles import ROWS, SOUND, planted


def test_a_short_batch_that_counts_as_a_full_one_is_found() -> None:
    assert [f.code for f in batch_findings(Laboratory(planted("last_batch_unweighted"), ROWS))] == [
        "last_batch_unweighted"
    ]
    assert batch_findings(Laboratory(SOUND["Keras example"](), ROWS)) == []
