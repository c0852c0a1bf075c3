"""What a run will take, before it starts: prompts, tokens, hours, memory, storage, money."""
