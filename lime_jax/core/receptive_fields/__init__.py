"""Models that see little of their input at a time, explained from what they see."""
