"""Random programs, what they are allowed to do, and what they did: see tests/model."""

__all__: list[str] = []
