"""Side-by-side benchmarks of the gateway, Go's httputil.ReverseProxy and nginx: ``python -m benchmarks``.

Reading order: ``scenarios/`` (what is measured), ``bench.py`` (interleaved rounds), ``servers.py`` (the proxies under
test), ``upstream.py`` (the mock engine behind them), ``load_*.py`` (the clients before them), ``cpu.py`` (the kernel's
numbers), ``report.py`` and ``svg.py`` (what comes out).
"""
