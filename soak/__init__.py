"""A long life under a hostile nemesis, and a history that is checked as it happens."""
