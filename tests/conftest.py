"""For all tests: pytest's own helper for testing plugins."""

pytest_plugins = ["pytester"]
