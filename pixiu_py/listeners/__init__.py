"""Ports that accept connections. Called by the gateway; they call a network filter."""
