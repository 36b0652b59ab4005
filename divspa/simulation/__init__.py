"""A generator of click logs."""
