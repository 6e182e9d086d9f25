"""Fork kernels: one server per container, standbys, checkpoints, and trials on a fork."""
