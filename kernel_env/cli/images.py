"""Implement `kernel-env images`: list and build the images of the containers."""

from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_result, print_table, progress

app = typer.Typer(
    no_args_is_help=True, help="List and build container images.", rich_markup_mode=None
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON line per image.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List all images and whether they are built."""
    from kernel_env.sandbox.docker import engine, images

    client = engine.connect()
    known = [images.find(name, cuda=cuda) for name in images.known() for cuda in (False, True)]
    rows = [
        {
            "image": image.name,
            "tag": image.tag,
            "built": images.is_built(client, image),
            "cuda": image.cuda,
        }
        for image in {image.tag: image for image in known}.values()
    ]
    if json:
        for row in rows:
            print_json(row)
    else:
        cells = [[str(value) for value in row.values()] for row in rows]
        print_table(["image", "tag", "built", "for GPUs"], cells)


@app.command("build")
def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE…]", help="Images to build (default: tabular)."),
    ] = None,
    cuda: Annotated[
        bool, typer.Option("--cuda", help="Build the variant for GPUs, where an image has one.")
    ] = False,
    json: Json = False,
) -> None:
    """Build images that are not built yet."""
    from kernel_env.sandbox.docker import engine, images

    client = engine.connect()
    required = [images.find(name, cuda=cuda) for name in names or [images.DEFAULT]]
    with progress() as report:
        for image in required:
            images.build(client, image, report)
    for image in required:
        if json:
            print_json({"image": image.name, "tag": image.tag})
        else:
            print_result(f"{image.name}: {image.tag}")
