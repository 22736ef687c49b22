"""What a user types, in a file for each command that does more than print."""
