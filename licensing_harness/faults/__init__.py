"""Faults: the embedded proxy, Toxiproxy's HTTP API over it, and the seam through which either is driven."""
