"""What was measured of a training, and the gates and the verdict that follow from it."""
