"""Who answers: which variant of a route gets a request. Knows no clocks, no I/O and no models."""
