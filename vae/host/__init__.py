"""What training runs in: its machine, its streams, and code of the user's own that it calls."""
