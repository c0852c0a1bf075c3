"""Training: examples to an adapter. TRL and PEFT do the work; what they must not get wrong is decided here."""
