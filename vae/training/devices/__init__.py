"""What trainings are computed on: the processor's threads, or a card (a GPU)."""
