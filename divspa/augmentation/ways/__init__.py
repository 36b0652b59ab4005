"""Ways to more positives: one file a way, behind one registry."""
