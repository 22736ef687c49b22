"""What is kept of a few rows fits together, or is refused by the name of the array that does not."""

from typing import Any

import numpy as np
import pytest

from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples, SeriesSamples


def image_arrays(*, models: int = 2, n: int = 3, latents: int = 4, steps: int = 5) -> dict[str, Any]:
    """Images of 6×7 grey pixels."""
    image = (6, 7, 1)
    return {
        "split": "test",
        "names": tuple(f"model {number}" for number in range(models)),
        "originals": np.zeros((n, *image), np.uint8),
        "reconstructions": np.zeros((models, n, *image), np.uint8),
        "unexplained": np.zeros((models, n)),
        "prior_samples": np.zeros((models, n, *image), np.uint8),
        "traversal": np.zeros((latents, steps, *image), np.uint8),
        "latents": np.arange(latents),
        "latent_kl": np.zeros(latents),
        "values": np.zeros(steps),
    }


def series_arrays() -> dict[str, Any]:
    """Three series of 9 steps and 2 channels, and what two models make of them."""
    return {
        "split": "test",
        "names": ("model 0", "model 1"),
        "steps": np.arange(9),
        "channels": np.arange(2),
        "originals": np.zeros((3, 9, 2)),
        "reconstructions": np.zeros((2, 3, 9, 2)),
        "unexplained": np.zeros((2, 3)),
        "prior_samples": np.zeros((2, 3, 9, 2)),
    }


@pytest.mark.parametrize("sizes", [{}, {"models": 1}, {"n": 1}, {"latents": 1}, {"steps": 1}, {"latents": 0}])
def test_arrays_that_fit_together_are_samples(sizes: dict[str, int]) -> None:
    assert ImageSamples(**image_arrays(**sizes)).names[0] == "model 0"


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("reconstructions", (3, 3, 6, 7, 1), "must have shape [2, 3, 6, 7, 1], but has [3, 3, 6, 7, 1]."),
        ("reconstructions", (2, 3, 6, 7), "must have shape [2, 3, 6, 7, 1], but has [2, 3, 6, 7]."),
        ("unexplained", (3, 2), "must have shape [2, 3], but has [3, 2]."),
        ("prior_samples", (2, 3, 7, 6, 1), "must have shape [2, 3, 6, 7, 1], but has [2, 3, 7, 6, 1]."),
        ("traversal", (5, 4, 6, 7, 1), "must have shape [4, 5, 6, 7, 1], but has [5, 4, 6, 7, 1]."),
        ("latent_kl", (4, 1), "must have shape [4], but has [4, 1]."),
    ],
)
def test_an_array_of_another_shape_is_refused_by_its_name(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        ImageSamples(**image_arrays() | {name: np.zeros(shape)})
    assert str(refused.value) == f"{name} {message}"


@pytest.mark.parametrize(("made", "arrays"), [(ImageSamples, image_arrays()), (SeriesSamples, series_arrays())])
def test_every_prior_sample_is_told_a_condition_or_none_is(made: type[Any], arrays: dict[str, Any]) -> None:
    assert made(**arrays).conditions == ()
    assert made(**arrays, conditions=("a", "b", "a")).conditions == ("a", "b", "a")
    with pytest.raises(ValueError, match="conditions must name none or each of 3 prior samples, but name 2"):
        made(**arrays, conditions=("a", "b"))


def test_images_of_the_originals_size_are_what_all_others_are_held_against() -> None:
    with pytest.raises(ValueError, match="reconstructions must have shape"):
        ImageSamples(**image_arrays() | {"originals": np.zeros((3, 6, 7, 3), np.uint8)})


def test_errors_of_columns_are_one_for_each_model_and_column() -> None:
    def errors(*shape: int) -> ColumnErrors:
        return ColumnErrors(
            split="test", names=("trial 3", "before"), columns=("a", "b", "c"), unexplained=np.zeros(shape), of=9
        )

    assert errors(2, 3).of == 9
    with pytest.raises(ValueError, match=r"unexplained must have shape \[2, 3\], but has \[3, 2\]\."):
        errors(3, 2)
