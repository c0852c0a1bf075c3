"""The results of a comparison: from stage records to comparison.json, costs.json, the page and the terminal."""
