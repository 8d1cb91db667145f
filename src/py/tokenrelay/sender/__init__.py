"""The sender half: it refreshes tokens and pushes them to receivers (extra ``sender``)."""
