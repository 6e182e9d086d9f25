"""Verify an episode for the command line: signatures, the comparison, the exit code."""

import asyncio
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NoReturn

from kernel_env.cli.console import (
    fail,
    print_json,
    print_result,
    print_table,
    progress,
)
from kernel_env.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
    from nbformat import NotebookNode

    from kernel_env.audit.trajectory.outputs import Difference
    from kernel_env.audit.trajectory.recording import Recording
    from kernel_env.audit.trajectory.verdict import (
        Claim,
        Signature,
        StepComparison,
        SubmissionComparison,
        Verification,
    )
    from kernel_env.audit.trajectory.verify import Options
    from kernel_env.episode import EpisodeConfig

SHOWN_STEPS = 10
"""How many of the steps that differ are shown side by side."""
CELL_CHARACTERS = 400
"""How much of a text is shown in a table."""


def verify_and_print(
    path: "Path",
    options: "Options | None",
    *,
    sign: "Path | None",
    check: "Path | None",
    json: bool,
) -> NoReturn:
    """Verify an episode, print what was found, and exit with the code of the verdict.

    Args:
        path: the folder, journal or notebook of an episode.
        options: how it is played again; None: only digests and signature are checked.
        sign: the private key that signs the notebook if it is reproduced.
        check: the public key that must have signed the notebook.
        json: print one JSON document.
    """
    from kernel_env.audit.trajectory.recording import Unreadable, read_recording
    from kernel_env.audit.trajectory.signature import message, read_public_key
    from kernel_env.audit.trajectory.verdict import Tampering
    from kernel_env.audit.trajectory.verify import find_changes, tampered

    key = read_key(sign) if sign else None
    public = read_public_key(check) if check else None
    try:
        recording = read_recording(path)
    except Unreadable as error:
        finish(tampered(None, [Tampering(where=error.where, what=str(error))]), json=json)
    if key is not None:
        message(notebook_of(recording)[1], "", "")  # it must have digests to sign
    if changed := find_changes(recording):
        finish(changed, json=json)
    signatures = check_signature(recording, public) if public else []
    if options is None:
        show_signatures(signatures, json=json)
        sys.exit(0)
    found = replay(recording, options)
    if key is not None and found.verdict == "REPRODUCED":
        signatures.append(sign_notebook(notebook_of(recording)[0], key, "reproduced"))
    finish(replace(found, signatures=tuple(signatures)), json=json)


def finish(found: "Verification", *, json: bool) -> NoReturn:
    """Print a verification and exit."""
    from kernel_env.audit.trajectory.verdict import EXIT_CODES

    if json:
        print_json(found.json())
    else:
        show(found)
    sys.exit(EXIT_CODES[found.verdict])


def replay(recording: "Recording", options: "Options") -> "Verification":
    """Play an episode again and compare."""
    from kernel_env.audit.trajectory.verify import replay_and_compare
    from kernel_env.runner import prepare_tasks

    with progress() as report:

        def prepare(config: "EpisodeConfig") -> None:
            prepare_tasks([config], report)

        try:
            return asyncio.run(
                replay_and_compare(recording, options, prepare=prepare, report=report)
            )
        except (KeyboardInterrupt, asyncio.CancelledError):
            fail("interrupted", code=130)


# ── signatures ────────────────────────────────────────────────────────────────────────────


def read_key(path: "Path") -> "Ed25519PrivateKey":
    """Read a private key; ask for its passphrase in the terminal if it is encrypted."""
    from getpass import getpass

    from kernel_env.audit.trajectory.signature import read_private_key

    def ask() -> str:
        return getpass(f"passphrase of {path}: ")

    return read_private_key(path, ask if sys.stdin.isatty() else None)


def notebook_of(recording: "Recording") -> "tuple[Path, NotebookNode]":
    """Return the notebook of an episode, which holds the signatures."""
    if recording.notebook is None or recording.notebook_path is None:
        raise UsageError("a signature is stored in a notebook; kernel-env export writes it")
    return recording.notebook_path, recording.notebook


def sign_notebook(path: "Path", key: "Ed25519PrivateKey", claim: "Claim") -> "Signature":
    """Sign the file of a notebook."""
    from kernel_env.audit.trajectory.signature import sign_file

    return sign_file(path, key, claim)


def refuse_changed(path: "Path") -> None:
    """Exit if an episode was changed after it was recorded: nobody should sign that."""
    from kernel_env.audit.trajectory.recording import read_recording
    from kernel_env.audit.trajectory.verdict import EXIT_CODES
    from kernel_env.audit.trajectory.verify import find_changes

    if changed := find_changes(read_recording(path)):
        reason = f"{path} was changed and is not signed: {changed.reason}"
        fail(reason, code=EXIT_CODES["TAMPERED"])


def check_signature(recording: "Recording", key: "Ed25519PublicKey") -> "list[Signature]":
    """Return the valid signatures of a notebook by a key; exit if there is none."""
    from kernel_env.audit.trajectory.signature import fingerprint, signatures, signed_by
    from kernel_env.audit.trajectory.verdict import NOT_SIGNED

    path, notebook = notebook_of(recording)
    found = signed_by(notebook, key)
    if not found:
        others = len(signatures(notebook))
        reason = f"; it has {others} by other keys or over other content" if others else ""
        fail(f"{path} is not signed by {fingerprint(key)}{reason}", code=NOT_SIGNED)
    return found


def show_signatures(found: "Sequence[Signature]", *, json: bool) -> None:
    """Print which signatures are valid, after a check without a replay."""
    if json:
        print_json({"verdict": None, "signatures": [asdict(each) for each in found]})
    for each in () if json else found:
        show_signature(each)


def show_signature(signature: "Signature") -> None:
    """Print a valid signature."""
    from kernel_env.audit.trajectory.signature import fingerprint_of

    claim = {"made": "made it", "reproduced": "reproduced it"}[signature.claim]
    print_result(f"signed by {fingerprint_of(signature.key)}, who {claim}, {signature.signed}")


# ── what was found ────────────────────────────────────────────────────────────────────────


def show(found: "Verification") -> None:
    """Print a verification: the comparison as tables, the verdict last."""
    if not found.has_digests:
        print_result("digests: none, as in version 0.1, so changes by hand cannot be found")
    if found.tampering:
        rows = [[each.where, each.what] for each in found.tampering]
        print_table(["changed", "what was found"], rows)
    if found.settings:
        rows = [[each.name, each.recorded, each.replayed] for each in found.settings]
        print_table(["it ran on", "recorded", "here"], rows)
    if found.plan:
        rows = [[str(p.step), "played" if p.played else "skipped", p.reason] for p in found.plan]
        print_table(["step", "", "why"], rows)
    different = [step for step in found.compared if not step.reproduced]
    for step in different[:SHOWN_STEPS]:
        show_differences(f"step {step.step} ({step.action})", step.differences)
    if len(different) > SHOWN_STEPS:
        print_result(f"{len(different) - SHOWN_STEPS} more steps differ; --json has them all")
    for step in found.compared:
        if step.note:
            print_result(f"step {step.step}: {step.note}")
    if pictures := [str(step.step) for step in found.compared if "picture" in step.masks]:
        print_result(f"pictures that differ, to be looked at: in steps {', '.join(pictures)}")
    if found.masks:
        masked = ", ".join(f"{name} {count}" for name, count in sorted(found.masks.items()))
        print_result(f"masked, because it differs: {masked}")
    show_submissions(found.compared, found.final)
    for signature in found.signatures:
        show_signature(signature)
    print_result(f"{found.verdict}: {found.reason}")


def show_differences(title: str, differences: "Sequence[Difference]") -> None:
    """Print what differs in a step, side by side."""
    rows = [[each.where, side(each.recorded), side(each.replayed)] for each in differences]
    print_table([title, "recorded", "replayed"], rows)


def side(text: str | None) -> str:
    """Return one side of a difference; a dash if that side has nothing."""
    if text is None:
        return "–"
    return f"{text[:CELL_CHARACTERS]}…" if len(text) > CELL_CHARACTERS else text


def show_submissions(
    compared: "Sequence[StepComparison]", final: "SubmissionComparison | None"
) -> None:
    """Print the scores of all submissions."""
    named = [(f"step {step.step}", step.submission) for step in compared if step.submission]
    rows = []
    for name, found in [*named, *([("the one that counts", final)] if final else [])]:
        same = {True: "equal", False: "different", None: "not stored"}[found.same_bytes]
        for split, score in (("public", found.public), ("private", found.private)):
            if score:
                said = "yes" if score.reproduced else "no"
                numbers = [f"{value:.10g}" for value in (score.recorded, score.replayed)]
                rows.append([name, same, split, *numbers, f"{score.tolerance:g}", said])
    if rows:
        columns = ["submission", "bytes", "score", "recorded", "replayed", "tolerance"]
        print_table([*columns, "reproduced"], rows)
