"""What the trained models do: their curves, what they make of the data, and whether their latents are of use."""
