"""The clustering of a run as units of work: vectors, kNN lists, recall, clusters."""
