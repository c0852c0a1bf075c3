"""``thinksafe doctor``: check whether everything that a run needs exists, and say how to fix what is missing."""
