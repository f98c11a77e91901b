"""Who may do what: credentials, the principals they stand for, and the permissions of roles."""
