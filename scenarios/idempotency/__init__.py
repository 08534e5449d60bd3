"""One idempotency key makes one licence."""
