"""In the flow's process: the task runner and its futures, run_session, and what collects from the grid."""
