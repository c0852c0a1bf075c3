"""Ready recipes; ``thinksafe run NAME`` finds them here."""
