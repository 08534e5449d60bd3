"""What scenarios are made from when nobody wrote them down: generated stories, attacks, populations, load runs."""
