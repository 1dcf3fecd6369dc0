"""Workers: the processes and containers that run handlers, and what they are given."""
