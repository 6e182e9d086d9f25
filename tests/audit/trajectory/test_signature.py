"""Keys of OpenSSH and OpenSSL sign notebooks; any other key, or a changed notebook, is noticed."""

import subprocess
from pathlib import Path

import pytest

from kernel_env.audit.trajectory import signature
from kernel_env.audit.trajectory.integrity import find_tampering
from kernel_env.audit.trajectory.recording import read_recording
from kernel_env.episode.notebook_parser import read_notebook
from kernel_env.errors import UsageError
from support.recorded_run import write_run


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        command, shell=True, cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys as the usual programs write them."""
    folder = tmp_path_factory.mktemp("keys")
    shell("ssh-keygen -q -t ed25519 -N '' -C someone@example -f ssh", folder)
    shell("ssh-keygen -q -t ed25519 -N secret -f ssh-encrypted", folder)
    shell("ssh-keygen -q -t ecdsa -N '' -f ecdsa", folder)
    shell("openssl genpkey -algorithm ed25519 -out pem", folder)
    shell("openssl pkey -in pem -pubout -out pem.pub", folder)
    shell("openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret -out pem-encrypted", folder)
    shell(
        "openssl pkey -in pem-encrypted -passin pass:secret -pubout -out pem-encrypted.pub", folder
    )
    return folder


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    write_run(tmp_path / "e")
    return tmp_path / "e" / "trajectory.ipynb"


@pytest.mark.parametrize("name", ["ssh", "ssh-encrypted", "pem", "pem-encrypted"])
def test_who_signed_a_notebook_is_known(keys: Path, notebook: Path, name: str) -> None:
    key = signature.read_private_key(keys / name, lambda: "secret")
    public = signature.read_public_key(keys / f"{name}.pub")

    signature.sign_file(notebook, key, "made")
    made = signature.sign_file(notebook, key, "reproduced")
    signature.sign_file(notebook, key, "made")

    found = signature.signed_by(read_notebook(notebook), public)
    assert [each.claim for each in found] == ["reproduced", "made"]
    assert found[0] == made
    assert list(find_tampering(read_recording(notebook.parent))) == []


def test_a_fingerprint_is_that_of_ssh_keygen(keys: Path) -> None:
    public = signature.read_public_key(keys / "ssh.pub")

    assert signature.fingerprint(public) in shell("ssh-keygen -l -f ssh.pub", keys)


def test_another_key_and_other_content_are_noticed(keys: Path, notebook: Path) -> None:
    public = signature.read_public_key(keys / "ssh.pub")
    other = signature.read_public_key(keys / "pem.pub")
    assert signature.signed_by(read_notebook(notebook), public) == []

    signature.sign_file(notebook, signature.read_private_key(keys / "ssh"), "made")

    node = read_notebook(notebook)
    assert signature.signed_by(node, other) == []
    assert len(signature.signed_by(node, public)) == 1
    digests, signatures = (node.metadata["kernel_env"][name] for name in ("digests", "signatures"))
    for place, name, value in (
        (digests, "last", "0" * 64),
        (digests, "cells", "0" * 64),
        (signatures[0], "claim", "reproduced"),
        (signatures[0], "signed", "2020-01-01"),
        (signatures[0], "signature", "AAAA"),
        (signatures[0], "signature", "no base64"),
        (signatures[0], "key", signature.openssh(other)),
    ):
        before, place[name] = place[name], value
        assert signature.signed_by(node, public) == [], name
        assert signature.signed_by(node, other) == [], name
        place[name] = before
    node.metadata["kernel_env"]["signatures"] = [{"key": 1}]
    with pytest.raises(UsageError, match="signatures are damaged"):
        signature.signed_by(node, public)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "cannot be read: No such file"),
        ("ecdsa", "is no Ed25519 key"),
        ("ssh-encrypted", "is encrypted, and there is no terminal"),
        ("pem-encrypted", "is encrypted, and there is no terminal"),
        ("ssh.pub", "is not a private key"),
    ],
)
def test_private_keys_that_cannot_sign(keys: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        signature.read_private_key(keys / name)


def test_a_wrong_passphrase_is_an_error(keys: Path) -> None:
    for name in ("ssh-encrypted", "pem-encrypted"):
        with pytest.raises(UsageError, match="is not a private key that can be read"):
            signature.read_private_key(keys / name, lambda: "wrong")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ssh", "is a private key; give the public one"),
        ("ecdsa.pub", "is no Ed25519 key"),
        ("none.pub", "cannot be read: No such file"),
    ],
)
def test_public_keys_that_cannot_check(keys: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        signature.read_public_key(keys / name)


def test_a_file_that_is_no_key_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for content in (b"", b"hello", b"ssh-ed25519 AAAA", b"-----BEGIN PUBLIC KEY-----\nxx\n"):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="is not a public key"):
            signature.read_public_key(file)
