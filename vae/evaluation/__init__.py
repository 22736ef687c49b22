"""What trained members are worth, what they make of rows, and how they leave as plain Keras models."""
