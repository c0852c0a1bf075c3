"""All registered models of some stores at a glance: one page, and the same numbers as OpenMetrics."""
