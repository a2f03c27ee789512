"""How many pictures known defects take; apart, for the server's front imports no networks."""

BAD_LEAST, BAD_MOST = 3, 50
FINE_MOST = 100
GOOD_LEAST = 4  # fewer, each left out in turn, say nothing about good pictures to come
