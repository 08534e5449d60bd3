"""Outages of the wire: drills."""
