"""From susceptibilities to the vectors whose distances are taken."""
