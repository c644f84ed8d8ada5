"""Depth maps for a data set that has none: each person's head is fitted to the labels of all its views.

One module for each concern: shape (the bare head), hair (where there may be some, and how thick), skin (which pixels
are none), joining (what hangs beyond), person_fit (these together), persons (whose views a data set holds, and what is
done), depth (files), report (what people look at).
"""

__version__ = "0.1.0"
"""Raised when the same labels and images give other depth maps."""
