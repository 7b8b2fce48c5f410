"""Token sources -> packed sequences, split into what is measured and what is sampled from."""
