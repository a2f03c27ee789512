"""REST under /api/v1: each endpoint reads its request, calls the service, and says what it made."""
