"""The objects of a run: their names, their schemas, and how each is written and read."""
