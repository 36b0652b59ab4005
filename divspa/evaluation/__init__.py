"""Full-catalogue ranking metrics, diversity and the report."""
