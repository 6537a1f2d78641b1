"""What happens to a request between its route and its endpoint. Called by the connection manager."""
