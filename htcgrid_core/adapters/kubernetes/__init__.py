"""The cluster that a grid's agents run in, read by Kubernetes' API; and the one thing that an agent writes there."""
