"""What a daemon does: histories of samples, traces that pass from daemon to daemon, and what stands out in them."""
