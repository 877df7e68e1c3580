"""The classes of faults of docs/benchmarks/faults.py, each with an oracle of its own."""
