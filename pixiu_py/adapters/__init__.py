"""Adapters: service registries that add endpoints while the gateway runs. None is built in so far."""
