"""Known benchmarks: where their prompts come from, how they are put to the model, and how the answers are read."""
