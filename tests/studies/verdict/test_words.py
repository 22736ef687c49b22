"""Numbers of a verdict; the report shows the same ones."""

from klsearch.reports import wording
from klsearch.studies.verdict import words


def test_the_report_words_numbers_as_the_verdict_does() -> None:
    assert wording.number is words.number
    assert words.spread(0.6756, 1.0) == "0.6756 to 1"
