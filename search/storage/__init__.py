"""The storage of a study, and the turns of the processes that share it."""
