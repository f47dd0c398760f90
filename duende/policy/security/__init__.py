"""What a daemon may do, enforced by the kernel: system calls, files, network, capabilities."""
