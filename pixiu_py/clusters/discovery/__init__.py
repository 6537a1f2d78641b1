"""Cluster types: where the addresses of configured endpoints come from."""
