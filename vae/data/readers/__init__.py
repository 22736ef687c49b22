"""Reading rows from wherever the user has them, without judging what they hold."""
