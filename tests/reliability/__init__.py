"""Proof that no fault costs a login: ``python -m tests.reliability --help``."""
