"""Local clustering: seeds, personalised PageRank, sweep cuts, rounds, proposals."""
