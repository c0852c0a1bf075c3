"""Models: references to students and adapters, mirrors, loading."""
