"""Where rows lie in the latent space."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from klsearch.reports.figures.latent_map_exhibits import latent_map_blocks
from klsearch.reports.page import Gallery, Prose
from klsearch.studies.record import StudyRecord
from klsearch.vae.evaluation.latent_map import map_latents

Make = Callable[..., StudyRecord]


def gallery_of(study: StudyRecord) -> Gallery:
    (found,) = (block for block in latent_map_blocks(study) if isinstance(block, Gallery))
    return found


def test_the_winner_stands_beside_the_recipe_or_the_users_own_settings(study: StudyRecord, make: Make) -> None:
    assert [one.title for one in gallery_of(study).exhibits] == [
        f"Latent space, winner (trial {study.winner})",
        "Latent space, before",
    ]
    own = make(30, baselines={"mine": {"kl_weight": 0.05}})
    assert gallery_of(own).exhibits[1].title == "Latent space, mine"


def test_every_class_has_a_style_of_its_own_and_the_mean_place_of_its_rows(study: StudyRecord) -> None:
    found, gallery = study.latent_map, gallery_of(study)
    assert found is not None
    assert [entry.label for entry in gallery.legend] == [str(digit) for digit in range(10)]
    assert len({(entry.color, entry.path) for entry in gallery.legend}) == 10
    row = gallery.exhibits[0].data.rows[3]
    places = found.places[0][np.array(found.labels) == "3"]
    assert row == ("3", "6", *(f"{value:.4g}" for value in places.mean(axis=0)))


def test_labels_that_only_look_like_numbers_are_words_behind_the_numbers(study: StudyRecord) -> None:
    labels = np.array(["²", "10", "2", ".-5", "-1.5", "."] * 10)
    means = {f"trial {study.winner}": np.random.default_rng(0).normal(size=(60, 3))}
    gallery = gallery_of(replace(study, latent_map=map_latents(means, {"train": labels, "test": labels}, "test")))
    assert [entry.label for entry in gallery.legend] == ["-1.5", "2", "10", ".", ".-5", "²"]


def test_rows_without_classes_or_of_too_many_are_drawn_alike(study: StudyRecord) -> None:
    means = {f"trial {study.winner}": np.random.default_rng(0).normal(size=(40, 3))}
    many = np.arange(40) % 20
    for labels in (None, {"train": many, "test": many}):
        gallery = gallery_of(replace(study, latent_map=map_latents(means, labels, "test")))
        assert gallery.legend == () and len(gallery.exhibits) == 1
        assert gallery.exhibits[0].data.rows[0][:2] == ("all rows", "40")


def test_what_is_not_stored_or_not_finite_is_not_drawn(study: StudyRecord) -> None:
    assert latent_map_blocks(replace(study, latent_map=None)) == ()
    lost = {f"trial {study.winner}": np.full((40, 3), np.nan)}
    assert latent_map_blocks(replace(study, latent_map=map_latents(lost, None, "test"))) == ()


def test_the_text_says_which_rows_they_are(study: StudyRecord) -> None:
    text = latent_map_blocks(study)[0]
    assert isinstance(text, Prose) and "60 rows of the test split, coloured by label" in text.text
