"""The scenarios that users run. Each drives a target through calm and faults, and only records."""
