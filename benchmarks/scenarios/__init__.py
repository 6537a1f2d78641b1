"""One module per measurement, all of one shape: ``TITLE``, ``METRICS``, and ``run(bench)``, which makes a ``Result``."""
