"""Filters for AI workloads."""
