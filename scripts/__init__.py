"""What makes the repository's networks, music and results; run as modules."""
