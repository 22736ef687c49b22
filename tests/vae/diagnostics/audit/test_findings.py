"""What a finding says."""

from klsearch.vae.diagnostics.audit.findings import REMEDIES, Finding


def test_every_code_has_a_remedy_of_one_line() -> None:
    assert len(REMEDIES) == 16
    for code, remedy in REMEDIES.items():
        assert Finding(code, "seen").remedy == remedy
        assert remedy.endswith(".")
        assert "\n" not in remedy
