"""Throughput benchmarks: one script per claim, JSON out. `python -m benchmarks --help`."""
