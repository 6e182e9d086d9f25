"""The program that is a kernel inside a box. It needs ipykernel and nothing of ours."""
