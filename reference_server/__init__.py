"""A licensing server that keeps every promise, and can break each of them by name."""
