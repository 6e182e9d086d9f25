"""Describe to an agent what its code runs on: Python, libraries, cores, memory and GPUs."""

import os
from dataclasses import dataclass

from kernel_env.episode.setup import EpisodeSetup
from kernel_env.sandbox.libraries import Libraries, libraries_of
from kernel_env.sandbox.protocol import GIB, Sandbox

NOTABLE = (
    *("numpy", "pandas", "polars", "pyarrow", "scipy", "statsmodels", "numba", "networkx"),
    *("scikit-learn", "imbalanced-learn", "lightgbm", "xgboost", "catboost", "optuna", "shap"),
    *("torch", "torchvision", "torchaudio", "torchmetrics", "lightning", "pytorch-lightning"),
    *("transformers", "tokenizers", "datasets", "accelerate", "peft", "sentence-transformers"),
    *("timm", "albumentations", "opencv-python", "opencv-python-headless", "pillow"),
    *("scikit-image", "tensorflow", "keras", "jax", "flax", "optax", "nltk", "spacy", "gensim"),
    *("matplotlib", "seaborn", "plotly"),
)
"""The libraries that the first observation names if they are installed; `metadata` has all."""
GPU_NOTE = (
    "A kernel that has used a GPU cannot be forked: after a crash, for validate_code and for forks"
    " its cells are run again. Train in a subprocess to keep these fast."
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What an episode's code runs on."""

    libraries: Libraries
    cpus: float
    """Processor cores."""
    memory_gb: float
    """Memory for programs, GiB."""
    workspace_gb: float | None
    """Size of the workspace, GiB; None if nothing limits it."""
    gpus: tuple[str, ...]
    """A description of each GPU."""

    @property
    def text(self) -> str:
        """Return the description for the first observation, in lines."""
        versions = {name.lower(): version for name, version in self.libraries.versions.items()}
        named = [f"{name} {versions[name]}" for name in NOTABLE if name in versions]
        size = f", {self.workspace_gb:g} GiB for files" if self.workspace_gb else ""
        memory = f"{self.memory_gb:.3g} GiB of memory{size}"
        lines = [f"Machine: {cores(self.cpus)}, {memory}, {self.gpu_text}."]
        if self.libraries.python:
            lines.append(f"Python {self.libraries.python}; {', '.join(named) or 'no libraries'}.")
        if self.gpus:
            lines.append(GPU_NOTE)
        return "\n".join(lines)

    @property
    def gpu_text(self) -> str:
        """Describe the GPUs, for example `1 GPU (NVIDIA H200 with 140 GiB)`."""
        if not self.gpus:
            return "no GPU"
        count = f"{len(self.gpus)} GPU{'' if len(self.gpus) == 1 else 's'}"
        known = list(filter(None, self.gpus))
        return f"{count} ({', '.join(known)})" if known else count

    def metadata(self) -> dict[str, object]:
        """Return the description for `request_info`."""
        every = [f"{name} {version}" for name, version in self.libraries.versions.items()]
        return {
            "cpus": self.cpus,
            "memory_gb": round(self.memory_gb, 2),
            "gpu": self.gpu_text,
            "python": self.libraries.python,
            "libraries": ", ".join(every),
        }


async def describe_machine(sandbox: Sandbox, setup: EpisodeSetup) -> Machine:
    """Describe the sandbox of an episode before its first step.

    A sandbox that does not isolate does not keep the limits of its spec either: it has the cores
    and the memory of this machine. Raises `SandboxError`.
    """
    spec, isolated = setup.spec, setup.header.isolated
    return Machine(
        libraries=await libraries_of(sandbox),
        cpus=spec.cpus if isolated else len(os.sched_getaffinity(0)),
        memory_gb=spec.memory_gb if isolated else machine_memory_gb(),
        workspace_gb=spec.workspace_gb if isolated else None,
        gpus=tuple(map(str, setup.gpus)) if setup.gpus else ("",) * spec.gpus,
    )


def machine_memory_gb() -> float:
    """Return the memory of this machine, GiB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB


def cores(count: float) -> str:
    """Return a number of cores as text."""
    return f"{count:g} core{'' if count == 1 else 's'}"
