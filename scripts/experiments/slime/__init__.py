"""How many samples SLIME needs, and which content."""
