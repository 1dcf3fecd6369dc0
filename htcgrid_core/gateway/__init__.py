"""The gateway: all that is asked of a grid, as one Protocol, and its implementation over the services."""
