"""What is tried: attacks, populations, troubles, and stories that Hypothesis makes up."""
