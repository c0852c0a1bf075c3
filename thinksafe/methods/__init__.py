"""Methods: what is sampled, what becomes an example, and what training minimises."""
