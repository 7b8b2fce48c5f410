"""Statistics of measured responses: response matrix, principal axes, patterns, chain diagnosis."""
