"""The commands that a user types, each that does more than print in a file of its own."""
