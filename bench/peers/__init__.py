"""Receivers and senders written in Python, one module each, run as `python -m peers.NAME`."""
