"""What an attacker may try: forged tokens, published keys, and requests that nobody meant."""
