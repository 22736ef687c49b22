"""What columns hold, as far as their names tell."""

import pytest

from klsearch.vae.diagnostics.column_names import bare, is_validation, recognise


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("val/kl_epoch", "kl"), ("train/kl_step", "kl"), ("train.kl", "kl"), ("metrics/val_kl_loss", "kl_loss"),
        ("klDivergence", "kl_divergence"), ("KL (nats)", "kl"), ("epoch", "epoch"), ("train_epoch", "epoch"),
        ("Recon. error", "recon_error"), ("KL.", "kl"),
    ],
)  # fmt: skip
def test_a_name_is_told_whatever_split_pace_and_unit_it_has(column: str, name: str) -> None:
    assert bare(column) == name


def test_of_what_is_logged_by_steps_and_by_epochs_the_epochs_are_taken() -> None:
    logged = ["step", "train/kl_step", "train/kl_epoch", "train/loss_step", "val/kl_epoch"]
    assert recognise(logged) == {"kl": "train/kl_epoch", "validation kl": "val/kl_epoch", "loss": "train/loss_step"}


def test_columns_of_validation_are_told_by_their_beginning() -> None:
    assert all(map(is_validation, ("val_kl", "val.kl", "valid/kl", "Validation kl")))
    assert not any(map(is_validation, ("kl", "value", "train.kl")))
