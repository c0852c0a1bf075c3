"""``thinksafe doctor``: checks whether what a run needs exists, and says how to fix what does not."""
