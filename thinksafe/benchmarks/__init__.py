"""Known benchmarks: where their prompts come from, how they are asked, and how their answers are read."""
