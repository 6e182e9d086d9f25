"""Run as a kernel inside a sandbox. Imports only ipykernel and the standard library."""
