"""Load: many devices at once, recorded and judged like any other client."""
