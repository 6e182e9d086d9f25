"""Jupyter's own tests of kernels pass for a sandboxed kernel."""

import os
import time
from collections.abc import Iterator

import jupyter_kernel_test
import pytest

from support.kernelspecs import install_kernelspec


@pytest.fixture(scope="module", autouse=True)
def kernelspecs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install a kernelspec for each sandbox where `jupyter_client` looks for them."""
    folder = tmp_path_factory.mktemp("jupyter")
    for sandbox in ("local", "docker"):
        install_kernelspec(folder, sandbox, name=f"sealed-{sandbox}")
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = str(folder)
    yield
    if before is None:
        del os.environ["JUPYTER_PATH"]
    else:
        os.environ["JUPYTER_PATH"] = before


class KernelTests(jupyter_kernel_test.KernelTests):
    """What Jupyter expects of a Python kernel; the samples are those of ipykernel's own tests."""

    kernel_name = "sealed-local"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples = ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n"]
    incomplete_code_samples = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    ]
    code_display_data = [
        {
            "code": "from IPython.display import HTML, display; display(HTML('<b>b</b>'))",
            "mime": "text/html",
        },
    ]
    code_history_pattern = "1?2*"
    # Not `range`: IPython gives the current session's lines the number 0, whatever number the
    # request named, and the test wants that number. A plain ipykernel does the same.
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    def test_recall(self) -> None:
        count = self.execute_helper("1+2+3")[0]["content"]["execution_count"]
        reply, _ = self.execute_helper(f"%recall {count}")
        (payload,) = reply["content"]["payload"]
        assert (payload["source"], payload["text"]) == ("set_next_input", "1+2+3")


class IopubWelcomeTests(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "sealed-local"
    support_iopub_welcome = True

    @classmethod
    def tearDownClass(cls) -> None:
        # The message comes so soon that the thread of the client's heartbeat may not have begun,
        # and a context that is closed under it fails with any error.
        while not cls.kc.hb_channel.is_beating():
            time.sleep(0.01)
        super().tearDownClass()


@pytest.mark.docker
class DockerKernelTests(KernelTests):
    kernel_name = "sealed-docker"


@pytest.mark.docker
class DockerIopubWelcomeTests(IopubWelcomeTests):
    kernel_name = "sealed-docker"
