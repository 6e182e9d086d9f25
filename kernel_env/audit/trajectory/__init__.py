"""Check whether a recorded episode can be believed.

`recording` reads it, `integrity` looks for changes by hand, `playback` runs its code again, `steps`
and `outputs` compare, `verify` gives one verdict. `signature` says who stands by it.
"""

from kernel_env.audit.trajectory.recording import Recording, read_recording
from kernel_env.audit.trajectory.verdict import Verification
from kernel_env.audit.trajectory.verify import Options, verify

__all__ = ["Options", "Recording", "Verification", "read_recording", "verify"]
