"""Published experiments, one folder per paper."""
