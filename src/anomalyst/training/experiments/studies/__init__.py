"""Questions of the field asked of one small stage, each answered by one table."""
