"""``thinksafe doctor``: does what a run needs exist, and if not, what mends it."""
