"""A run as a dataset that others load: tables, a card, and the way to the Hugging Face hub."""
