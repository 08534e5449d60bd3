"""HTTP, thin: bytes to commands, answers to bytes."""
