"""From masks and outputs to coefficients and their errors."""
