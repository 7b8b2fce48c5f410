"""The measurement as units of work: tokens, chains, tiles of running sums, assembly."""
