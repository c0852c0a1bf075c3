"""The stages: one module each, pure functions of input files and a configuration section."""
