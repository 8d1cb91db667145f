"""Many accounts in one sender: ``python -m tests.scale``."""
