"""One attempt at one endpoint: its head, its connection, its response. Called by the proxy filters."""
