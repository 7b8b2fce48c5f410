"""What calls of a model cost: flops, memory, rows at once."""
