"""Sign notebooks of episodes, and check who signed them.

A signature (Ed25519, RFC 8032) covers the last digest of the chain and the digest over what a
reader sees, so the whole notebook apart from what Jupyter itself keeps in it. It says who had the
private key, and what they claim: that they made the notebook, or that they ran its code again.

Keys are read as `ssh-keygen -t ed25519` and `openssl genpkey -algorithm ed25519` write them.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from nbformat import NotebookNode
from pydantic import TypeAdapter, ValidationError

from kernel_env.audit.trajectory.verdict import Claim, Signature
from kernel_env.episode.notebook import store_notebook
from kernel_env.episode.notebook_parser import read_notebook
from kernel_env.errors import UsageError

MAX_KEY_BYTES = 1 << 16
ENCRYPTED = "is encrypted, and there is no terminal to ask for its passphrase"


SIGNATURES = TypeAdapter(list[Signature])


def message(notebook: NotebookNode, claim: str, signed: str) -> bytes:
    """Return what is signed of a notebook. Raises `UsageError` for one without digests."""
    digests = notebook.metadata.get("kernel_env", {}).get("digests")
    if not isinstance(digests, dict) or not {"last", "cells"} <= digests.keys():
        raise UsageError("the notebook has no digests to sign: version 0.1 recorded its episode")
    parts = ["kernel-env trajectory", digests["last"], digests["cells"], claim, signed]
    return json.dumps(parts).encode()


# ── keys ──────────────────────────────────────────────────────────────────────────────────


def read_private_key(path: Path, passphrase: Callable[[], str] | None = None) -> Ed25519PrivateKey:
    """Read a private key.

    Args:
        path: a file in OpenSSH's format or PEM.
        passphrase: asks for the passphrase of an encrypted key; None if nobody can be asked.

    Raises `UsageError`.
    """
    data = read_key_file(path)
    load = (
        serialization.load_ssh_private_key
        if b"BEGIN OPENSSH PRIVATE KEY" in data
        else serialization.load_pem_private_key
    )
    try:
        try:
            key = load(data, password=None)
        except TypeError:  # it is encrypted
            if passphrase is None:
                raise UsageError(f"{path} {ENCRYPTED}") from None
            key = load(data, password=passphrase().encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not a private key that can be read: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key; ssh-keygen -t ed25519 -f FILE makes one")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key: a line of OpenSSH, or PEM. Raises `UsageError`."""
    data = read_key_file(path)
    if b"PRIVATE KEY" in data:
        raise UsageError(f"{path} is a private key; give the public one, for example {path}.pub")
    try:
        key = (
            serialization.load_pem_public_key(data)
            if b"-----BEGIN" in data
            else serialization.load_ssh_public_key(data.strip())
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a public key that can be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is no Ed25519 key; only such keys sign notebooks")
    return key


def read_key_file(path: Path) -> bytes:
    """Read the file of a key. Raises `UsageError`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}") from error


def openssh(key: Ed25519PublicKey) -> str:
    """Return a public key as OpenSSH writes it."""
    return key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the fingerprint of a public key, as `ssh-keygen -l` shows it."""
    return fingerprint_of(openssh(key))


def fingerprint_of(key: str) -> str:
    """Return the fingerprint of a public key as OpenSSH writes it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


# ── sign and check ────────────────────────────────────────────────────────────────────────


def sign(notebook: NotebookNode, key: Ed25519PrivateKey, claim: Claim) -> Signature:
    """Add a signature to a notebook and return it; it replaces one by this key for this claim.

    Raises `UsageError`.
    """
    signed = datetime.now(UTC).isoformat(timespec="seconds")
    signature = Signature(
        key=openssh(key.public_key()),
        claim=claim,
        signed=signed,
        signature=base64.b64encode(key.sign(message(notebook, claim, signed))).decode(),
    )
    others = [one for one in signatures(notebook) if (one.key, one.claim) != (signature.key, claim)]
    notebook.metadata["kernel_env"]["signatures"] = [asdict(one) for one in [*others, signature]]
    return signature


def signatures(notebook: NotebookNode) -> list[Signature]:
    """Return the signatures that a notebook has, checked or not. Raises `UsageError`."""
    found: Any = notebook.metadata.get("kernel_env", {}).get("signatures", [])
    try:
        return SIGNATURES.validate_python(found)
    except ValidationError as error:
        raise UsageError("the notebook's signatures are damaged; sign it again") from error


def signed_by(notebook: NotebookNode, key: Ed25519PublicKey) -> list[Signature]:
    """Return the signatures of a notebook that are valid and by this key. Raises `UsageError`."""
    return [
        one
        for one in signatures(notebook)
        if one.key == openssh(key) and is_valid(one, notebook, key)
    ]


def is_valid(signature: Signature, notebook: NotebookNode, key: Ed25519PublicKey) -> bool:
    """Return whether a signature was made by a key over this very notebook."""
    try:
        data = base64.b64decode(signature.signature, validate=True)
        key.verify(data, message(notebook, signature.claim, signature.signed))
    except (InvalidSignature, binascii.Error):
        return False
    return True


def sign_file(path: Path, key: Ed25519PrivateKey, claim: Claim) -> Signature:
    """Add a signature to a notebook's file. Raises `UsageError`, `SandboxError`."""
    notebook = read_notebook(path)
    signature = sign(notebook, key, claim)
    store_notebook(notebook, path)
    return signature
