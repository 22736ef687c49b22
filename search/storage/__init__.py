"""What is kept of a study, and how processes that share it take turns."""
