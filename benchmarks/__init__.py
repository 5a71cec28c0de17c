"""What bridgeio costs beside each framework's own way, measured in one run.

``python -m benchmarks`` (or ``nox -s bench``) prints the table; see docs/performance.md.
"""
