"""Training: examples to an adapter. TRL and PEFT do the work; this package decides what must not go wrong."""
