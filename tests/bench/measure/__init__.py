"""CPU time of a process tree, memory of this process, and the statistics of samples."""
