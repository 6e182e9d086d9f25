"""Check the tasks of a pack, and keep the results beside its manifest."""

from pathlib import Path

from kernel_env.audit.task import check
from kernel_env.authoring.packs.making import key
from kernel_env.authoring.packs.manifest import Pack
from kernel_env.authoring.packs.shipped import Checked, checks_file, read_checks, write_rows


def is_checked(pack: Pack, name: str) -> bool:
    """Return whether a task, as it is now, passed all checks."""
    known = read_checks(pack).get(name)
    return known is not None and known.key == key(pack, name) and not known.failed


async def check_task(pack: Pack, folder: Path, sandbox: str) -> list[str]:
    """Run all checks of a task that is made, and keep the result; return the flaws, a line each.

    Raises:
        SandboxError: the sandbox cannot be used.
        TaskError: the results that the pack ships have another form.
    """
    name = folder.name
    findings = [finding async for finding in check(folder, sandbox=sandbox)]
    flaws = [finding for finding in findings if finding.verdict == "failed"]
    result = Checked(
        task=name,
        key=key(pack, name),
        passed=sum(finding.verdict == "ok" for finding in findings),
        failed=" ".join(dict.fromkeys(finding.check.replace(" ", "-") for finding in flaws)),
    )
    kept = {each: known for each, known in read_checks(pack).items() if each in pack.file.task}
    write_rows(checks_file(pack), {**kept, name: result}.values(), Checked)
    return [f"{finding.check}: {finding.text}" for finding in flaws]
