"""What a target is tried with: state machines, token attacks, populations, fuzzing."""
