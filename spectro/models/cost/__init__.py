"""Cost of model calls: flop counter, peak memory, batch sizes."""
