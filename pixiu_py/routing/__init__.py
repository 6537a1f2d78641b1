"""From a request to its route. The connection manager asks a ``RouteTable``; nothing here knows filters or clusters."""
