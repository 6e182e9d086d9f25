"""Files of overlays over frozen folders, in real sandboxes; availability and capabilities."""

import asyncio
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from kernel_env import plugins
from kernel_env.sandbox import Sandbox
from kernel_env.sandbox.protocol import WORKSPACE
from support.overlays import SPEC, guest_program, run_inside, unavailable_reason


async def test_overlay_starts_with_the_frozen_folder(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        os.makedirs("folder/inner")
        write("folder/inner/file", "deep")
        write("script", "")
        os.chmod("script", 0o750)
        os.symlink("folder", "link")
        os.chmod(WORKSPACE, 0o711)
        result = in_overlay(lambda: [
            sorted(os.listdir()), read("link/inner/file"),
            oct(os.stat("script").st_mode), oct(os.stat(WORKSPACE).st_mode), os.getuid() == os.stat("script").st_uid])
        os.chmod(WORKSPACE, 0o755)
        """,
    )

    assert result == [["folder", "link", "script"], "deep", "0o100750", "0o40711", True]


async def test_writes_are_visible_in_one_overlay_only(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        write("common", "common")
        write("unwanted", "")
        lower = freeze()
        def first():
            write("common", ", first", "a"); write("new", "first"); os.unlink("unwanted")
            return [read("common"), sorted(os.listdir())]
        def second():
            return [read("common"), sorted(os.listdir())]
        one = in_overlay(first, lower)
        write("common", ", parent", "a")
        other = in_overlay(second, lower)
        result = [one, other, [read("common"), sorted(os.listdir())]]
        """,
    )

    first, second, parent = result
    assert first == ["common, first", ["common", "new"]]
    assert second == ["common", ["common", "unwanted"]]
    assert parent == ["common, parent", ["common", "unwanted"]]


async def test_started_programs_inherit_the_overlay(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        def body():
            write("f", "in the overlay")
            return subprocess.run(["cat", f"{WORKSPACE}/f"], capture_output=True, text=True).stdout
        write("f", "parent")
        result = in_overlay(body)
        """,
    )

    assert result == "in the overlay"


async def test_overlays_nest_thirty_levels_deep(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        def down(depth):
            write("trail", f"{depth} ", "a")
            if depth == 30:
                return read("trail")
            deeper = in_overlay(lambda: down(depth + 1), freeze(str(depth)), str(depth))
            assert read("trail").split()[-1] == str(depth)
            return deeper
        write("trail", "")
        result = [down(0), read("trail")]
        """,
    )

    assert result == [" ".join(map(str, range(31))) + " ", "0 "]


async def test_nested_overlay_can_use_any_frozen_folder(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        write("f", "before")
        early = freeze("early")
        write("f", "after")
        late = freeze("late")
        def outer():
            write("own", "")
            inner = in_overlay(lambda: [read("f"), os.listdir()], early)
            return [inner, read("f"), sorted(os.listdir())]
        result = in_overlay(outer, late)
        """,
    )

    assert result == [["before", ["f"]], "after", ["f", "own"]]


async def test_folder_of_the_lower_layer_can_be_moved_but_not_renamed(
    open_sandbox: Sandbox,
) -> None:
    result = await run_inside(
        open_sandbox,
        """
        os.mkdir("old"); write("old/file", "kept"); write("f", "")
        def body():
            try: os.rename("old", "new")
            except OSError as error: name = errno.errorcode[error.errno]
            shutil.move("old", "new")
            os.mkdir("own"); os.rename("own", "own too"); os.rename("f", "g")
            return [name, read("new/file"), sorted(os.listdir())]
        result = in_overlay(body)
        """,
    )

    assert result == ["EXDEV", "kept", ["g", "new", "own too"]]


async def test_host_reads_an_overlay_through_its_process(open_sandbox: Sandbox) -> None:
    program = guest_program(
        open_sandbox,
        """
        overlay.enter_mount_namespace([layer("b", freeze())])
        write("f", "in the overlay"); print(os.getpid(), flush=True); time.sleep(60)
        """,
    )
    process = await open_sandbox.spawn([open_sandbox.python, "-c", program])
    while not process.tail().endswith("\n"):
        assert process.exit_code is None, process.tail()
        await asyncio.sleep(0.01)

    path = PurePosixPath(
        f"/proc/{process.tail().strip()}/root{open_sandbox.guest_path(WORKSPACE)}/f"
    )
    found = await open_sandbox.read(path, limit_bytes=100)

    assert found == b"in the overlay"
    assert await open_sandbox.stat(WORKSPACE / "f") is None


async def test_error_names_the_failed_step(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        missing = in_overlay(lambda: None, f"{SNAPSHOTS}/trees/missing")
        done = threading.Event(); thread = threading.Thread(target=done.wait); thread.start()
        try: overlay.enter_mount_namespace([layer("b", freeze())])
        except OSError as error: threads = [str(error), os.getcwd() == WORKSPACE]
        done.set(); thread.join()
        result = [missing, threads]
        """,
    )

    missing, threads = result
    assert "create the folders of the overlay: No such file or directory" in missing
    assert threads == ["[Errno 22] unshare: Invalid argument", True]


async def test_unavailable_reason_is_none_and_leaves_no_files(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox, "result = [overlay.unavailable_reason(SNAPSHOTS), os.listdir(SNAPSHOTS)]"
    )

    assert result == [None, ["blobs"]]


async def test_missing_folder_makes_overlays_unavailable(open_sandbox: Sandbox) -> None:
    result = await run_inside(open_sandbox, "result = overlay.unavailable_reason('/dev/null/x')")

    assert "Not a directory" in result


@pytest.mark.docker
async def test_default_seccomp_profile_makes_overlays_unavailable() -> None:
    async with plugins.find("sandbox", "docker")(replace(SPEC, branching=False)) as open_sandbox:
        reason = await unavailable_reason(open_sandbox)
        result = await run_inside(
            open_sandbox,
            """
            unshare = overlay.libc.unshare
            status = dict(line.split(":\\t") for line in read("/proc/self/status").splitlines())
            result = [status["Seccomp"], unshare(0x10000000), unshare(0x10020000), os.listdir(SNAPSHOTS)]
            """,
        )

    assert reason == "unshare: Operation not permitted"
    assert result == ["2", -1, -1, ["blobs"]]


async def test_no_capability_is_left(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        def sets():
            status = dict(line.split(":\\t") for line in read("/proc/self/status").splitlines())
            return [*(int(status[f"Cap{which}"], 16) for which in ("Eff", "Prm", "Inh", "Bnd", "Amb")), status["NoNewPrivs"]]
        def body():
            libc = overlay.libc
            code = "print(open('/proc/self/status').read())"
            started = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
            status = dict(line.split(":\\t") for line in started.splitlines() if line)
            return [sets(), int(status["CapEff"], 16),
                    libc.mount(b"none", WORKSPACE.encode(), b"tmpfs", 6, None), libc.umount2(WORKSPACE.encode(), 2),
                    libc.ptrace(16, os.getppid(), 0, 0)]
        result = [in_overlay(body), os.geteuid() == 0]
        """,
    )

    (sets, started, *calls), root = result
    kept = 1 << 31 if root else 0  # CAP_SETFCAP, for root's further namespaces
    assert sets == [kept, kept, 0, kept, 0, "1"]
    assert started == kept
    assert calls == [-1, -1, -1]


@pytest.mark.docker
async def test_init_process_stays_out_of_reach(container: Sandbox) -> None:
    result = await run_inside(
        container,
        """
        def body():
            found = [overlay.libc.ptrace(16, 1, 0, 0)]
            for path in ("environ", "mem", "fd/0", "fd/3", "root/etc/passwd", "maps"):
                try: open("/proc/1/" + path, "rb").read(1); found.append(path)
                except OSError: pass
            return found
        result = in_overlay(body)
        """,
    )

    assert result == [-1]
