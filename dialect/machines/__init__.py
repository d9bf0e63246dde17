"""What hardware is built of, where things lie on it, and when its engines work."""
