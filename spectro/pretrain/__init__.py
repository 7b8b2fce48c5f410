"""How the embedded model is made: text on the machine -> packed tokens -> a small GPT-NeoX."""
