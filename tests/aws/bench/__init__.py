"""``make bench-aws``: what sessions on AWS cost, and how fast they are, on an emulator."""
