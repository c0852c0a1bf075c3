"""What the acceptance suite works with: a cluster that it knows nothing of but its variables (README.md)."""
