"""Code that runs inside the sandbox: exploit cells. It imports nothing from the host package."""
