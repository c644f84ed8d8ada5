"""What long work on data says while it runs."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a word for the work, how many items are done, and of how many."""
Say = Callable[[str], None]
"""Called with a message that a user should read now."""
