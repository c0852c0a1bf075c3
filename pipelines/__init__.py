"""The pipelines: wiring of components, and the commands that run and compile them."""
