"""Check the texts that `request_info` returns."""

import json
from pathlib import PurePosixPath

from kernel_env.tasks import catalog
from kernel_env.tasks.info import InfoType, info
from kernel_env.tasks.prepare import prepare


def test_the_info_type_all_contains_every_type(tiny: str) -> None:
    task = catalog.find(tiny)
    public = prepare(task).public
    paths = PurePosixPath("/data"), PurePosixPath("/workspace/submission.csv")
    limits = {"steps": 7}
    types: tuple[InfoType, ...] = (
        "overview",
        "sample_submission",
        "data_structure",
        "output_path",
        "metadata",
    )

    everything = info(task, public, *paths, "all", limits)

    for what in types:
        assert info(task, public, *paths, what, limits) in everything
    metadata = json.loads(info(task, public, *paths, "metadata", limits))
    assert metadata["limits"]["steps"] == 7
    assert metadata["limits"]["cell_seconds"] == task.file.limits.cell_seconds
