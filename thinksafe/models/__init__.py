"""References to students and adapters, mirrors, loading."""
