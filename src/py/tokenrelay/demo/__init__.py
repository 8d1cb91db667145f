"""``tokenrelay demo``: provider, API, sender and receivers, each a process of its own."""
