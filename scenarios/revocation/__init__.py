"""What was revoked stays revoked, for every client, whatever is lost or restarted."""
