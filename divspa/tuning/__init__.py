"""What a day chooses from held-out clicks: ways, popularity discount, whose scores weigh, and beta."""
