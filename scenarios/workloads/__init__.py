"""Parts that several workloads share: clients that keep asking, observers of processes, lives of managers."""
