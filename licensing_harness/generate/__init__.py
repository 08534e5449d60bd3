"""What scenarios are fed with: strategies, state machines, attacks, populations, load runs."""
