"""What the command line does: one module a command, imported when it is called."""
