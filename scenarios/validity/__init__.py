"""A licence in its term says yes, with its own features; any other says no."""
