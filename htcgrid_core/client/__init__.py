"""The public face: connect, Grid, Session and the executor."""
