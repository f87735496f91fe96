"""What the scripts that repeat published experiments share: songs, training, results, pictures."""
