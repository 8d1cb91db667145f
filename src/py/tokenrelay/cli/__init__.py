"""The command line, one file a command. Each imports what it needs only when it runs."""
