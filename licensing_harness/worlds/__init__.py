"""Where a run takes place: who owns time, the network and the processes."""
