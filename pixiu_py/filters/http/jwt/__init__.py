"""``dgp.filter.http.auth.jwt``: tokens of known issuers. PyJWT is an extra, so only ``keys`` and ``provider`` import it.

``filter`` picks the rules of a path and asks a ``provider`` for each token that they require; a provider finds the token,
verifies its signature with ``keys``, which may come from ``remote``, and judges its ``claims``.
"""
