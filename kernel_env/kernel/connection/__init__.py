"""Launch a kernel and talk to it: sockets, messages, outputs, and the control channel."""
