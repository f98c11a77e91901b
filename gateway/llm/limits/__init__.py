"""What callers, teams and tags may spend and how fast: reserved before, settled after."""
