"""One process's work on a study, and the processes that share one."""
