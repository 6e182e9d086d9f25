"""Temporary folders are removed whatever their content permits."""

import os
import subprocess
import sys
from pathlib import Path

from kernel_env import temporary

CREATE_AND_REMOVE = """
import os, sys
from kernel_env import temporary
if os.geteuid() == 0:
    os.setuid(65534)  # nothing is denied to root
folder = temporary.folder()
(folder / "a" / "b" / "c").mkdir(parents=True)
(folder / "a" / "link").symlink_to(sys.argv[1])
(folder / "a" / "b" / "file").write_text("x")
(folder / "a" / "b" / "c").chmod(0)
(folder / "a" / "b").chmod(0)
(folder / "a").chmod(0o400)
temporary.remove(folder)
print(folder.exists())
"""


def test_a_folder_that_denies_access_is_removed_without_following_links(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o500)

    done = subprocess.run(
        [sys.executable, "-c", CREATE_AND_REMOVE, str(target)],
        env={**os.environ, "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("False\n", "")
    assert target.stat().st_mode & 0o777 == 0o500


def test_the_folders_of_a_process_are_known_until_they_are_removed() -> None:
    folder = temporary.folder()

    assert folder in temporary.folders_of(os.getpid())
    temporary.remove(folder)
    assert folder not in temporary.folders_of(os.getpid())
