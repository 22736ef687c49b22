"""What an audit finds."""

from collections.abc import Mapping
from dataclasses import dataclass

REMEDIES = {
    "l2_inactive": "add sum(self.losses) to the loss in train_step.",
    "dropout_inactive": "call self.encoder(data, training=True) in train_step (and the decoder alike).",
    "network_untrained": "differentiate the loss by self.trainable_weights, which are those of both networks.",
    "kl_without_pull": (
        "add the KL term to the loss that is differentiated, without stop_gradient; where a callback raises its weight "
        "from 0, give that beside the model."
    ),
    "kl_sign_wrong": "write KL as -0.5 · (1 + z_log_var - z_mean² - exp(z_log_var)), and add it to the loss.",
    "kl_formula": "write KL as -0.5 · (1 + z_log_var - z_mean² - exp(z_log_var)), without stop_gradient.",
    "kl_weight_inactive": "multiply the KL term by it in train_step.",
    "kl_weight_frozen": "hold it as self.add_weight(shape=(), trainable=False) and change it by assign(…).",
    "annealing_inactive": "let a callback assign weight · min(1, epoch / annealing_epochs) to a variable.",
    "noise_unused": (
        "decode z_mean + exp(0.5 · z_log_var) · noise in train_step, with "
        "noise = keras.random.normal(keras.ops.shape(z_mean))."
    ),
    "noise_scaled": "draw the noise from a standard normal distribution, keras.random.normal(keras.ops.shape(z_mean)).",
    "log_var_differs": "clip or transform z_log_var once, where the encoder gives it, and use that for both.",
    "heads_activated": "give the Dense layers of z_mean and z_log_var no activation.",
    "validation_uses_mean": "decode a sample in test_step, as in train_step, with training=False.",
    "clip_gradient_dead": "use x + stop_gradient(clip(x) - x), whose gradient passes, or keep latents off the bounds.",
    "last_batch_unweighted": "give the metrics sample_weight=batch size in update_state.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that has no effect, or another than it seems to: what was done and seen, and how to mend it."""

    code: str
    evidence: str

    @property
    def remedy(self) -> str:
        """How to mend it."""
        return REMEDIES[self.code]


Facts = Mapping[str, float | int | str | None]
