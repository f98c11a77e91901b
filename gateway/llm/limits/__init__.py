"""What keys, teams, tags and upstreams may spend and how fast: reserved before, settled after."""
