"""Check the tasks of a pack, and keep the results beside its manifest."""

from pathlib import Path

from kernel_env.audit.task import check
from kernel_env.authoring.packs.making import key
from kernel_env.authoring.packs.manifest import Pack
from kernel_env.authoring.packs.shipped import Checked, checks_file, read_checks, update_rows


def is_checked(pack: Pack, name: str) -> bool:
    """Return whether a task, as it is now, passed all checks, and none was left out."""
    known = read_checks(pack).get(name)
    if known is None or known.key != key(pack, name):
        return False
    return not (known.failed or known.not_run)


async def check_task(pack: Pack, folder: Path, sandbox: str) -> list[str]:
    """Run all checks of a task that is made, and keep the result; return the flaws, a line each.

    Raises:
        SandboxError: the sandbox cannot be used.
        TaskError: the results that the pack ships have another form.
    """
    name = folder.name
    findings = [finding async for finding in check(folder, sandbox=sandbox)]
    names = {
        verdict: ",".join(dict.fromkeys(each.check for each in findings if each.verdict == verdict))
        for verdict in ("failed", "not run")
    }
    result = Checked(
        task=name,
        key=key(pack, name),
        passed=sum(finding.verdict == "ok" for finding in findings),
        failed=names["failed"],
        not_run=names["not run"],
    )
    update_rows(pack, checks_file(pack), [result], Checked)
    return [f"{each.check}: {each.text}" for each in findings if each.verdict == "failed"]
