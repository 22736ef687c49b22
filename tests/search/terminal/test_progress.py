"""The words in which progress is told, and listeners that show little."""

import pytest

from klsearch.search.terminal.progress import Silence, leading_training, watched_values
from tests.search.terminal.conftest import VALUES, ended_training


def test_the_four_values_that_the_recipe_watches_are_shown() -> None:
    text = watched_values(VALUES)
    assert text == "epoch 37/60  KL 2.35  reconstruction 1.164  KL weight 0.1  total 1.399"


def test_before_the_first_epoch_there_is_nothing_to_watch() -> None:
    assert watched_values({"epoch": 0.0, "epochs": 60.0}) == "first epoch"


def test_the_leading_training_is_the_farthest_of_the_lowest_number() -> None:
    assert leading_training({5: {"epoch": 3.0}, 4: {"epoch": 7.0}, 6: {"epoch": 7.0}}) == 4
    assert leading_training({}) is None


def test_silence_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silence = Silence()
    silence.say("something")
    silence.begin("trials", done=0, total=1)
    silence.watch({0: VALUES})
    silence.count(ended_training("trial 0", 0.1))
    assert capsys.readouterr() == ("", "")
