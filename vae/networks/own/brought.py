"""A user's two models as they were brought, beside those that are trained."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import keras

from klsearch.vae.data.cautions import Caution
from klsearch.vae.networks.own.decoders import Logits
from klsearch.vae.networks.own.pairs import Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Brought:
    """A user's models, which share their variables with those that are trained.

    Attributes:
        encoder: with all of its outputs.
        decoder: with its activation, within `restored`.
        places: of z_mean and z_log_var among the encoder's flattened outputs, the same one where it is cut in two; None
            where they lie inside.
        kernels: that L2 acts on.
        logits: what is trained of a decoder that ends in a sigmoid; None of another.
        notes: what was taken for what, one line each.
        cautions: what may surprise.
        origin: how both come from what the user named.
    """

    encoder: keras.layers.Layer
    decoder: keras.layers.Layer
    places: tuple[int, int] | None
    kernels: tuple[keras.Variable, keras.Variable]
    logits: Logits | None
    notes: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()
    origin: Origin = field(default_factory=Origin)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """A block in which both are as they were brought."""
        with self.logits.restored() if self.logits is not None else nullcontext():
            yield
