"""The rules: pure functions of state, command and time. Nothing here waits, reads a clock or draws entropy.

Times are Unix milliseconds as ``int``.
"""
