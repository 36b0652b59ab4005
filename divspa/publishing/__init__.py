"""What is published: channels made of one model or of two fused, and how they rank the held-out clicks."""
