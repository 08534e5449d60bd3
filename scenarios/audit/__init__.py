"""What was acknowledged is in the trail once; nothing else is."""
