"""Decides what to make and remembers what was made."""
