"""The linear item-item model: what clicks on one item say about clicks on another, counted on Spark and solved once."""
