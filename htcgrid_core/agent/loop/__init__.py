"""The agent's loop: claims, heartbeats and commits over the ports alone, so that the simulator runs it as it is."""
