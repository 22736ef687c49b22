"""Rows as users have them, read, checked, split and scaled."""
