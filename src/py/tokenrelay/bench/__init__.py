"""`tokenrelay bench`: the latency promise, measured on the user's machine."""
