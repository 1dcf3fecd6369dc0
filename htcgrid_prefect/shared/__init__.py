"""What the flow's process and the workers share."""
