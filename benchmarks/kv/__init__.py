"""A simulated fleet of engines for ``benchmarks/kv_routing.py``."""
