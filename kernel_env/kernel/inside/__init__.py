"""The program that is a kernel inside a box. It needs only ipykernel and imports nothing of ours."""
