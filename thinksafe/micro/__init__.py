"""The micro world: an embedded world, its exact guard and its students, for runs without a download or a GPU."""
