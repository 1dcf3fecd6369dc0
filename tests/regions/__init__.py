"""Several regions behind one gateway: on grids in memory, on two regions of an emulator, and in virtual time."""
