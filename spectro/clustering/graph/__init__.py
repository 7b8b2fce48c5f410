"""The weighted kNN graph, its statistics, and an order of its nodes."""
