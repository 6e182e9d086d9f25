"""`kernel-env images list|build`: the images of the task containers."""

from typing import Annotated

import typer

from kernel_env.cli.console import answer, answer_json, progress, table

app = typer.Typer(no_args_is_help=True, help="The images of the containers.", rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """Every image that is known, and whether it is built."""
    from kernel_env.sandbox.docker import engine, images

    client = engine.connect()
    rows = [
        {"image": image.name, "tag": image.tag, "built": images.is_built(client, image)}
        for image in images.known().values()
    ]
    if json:
        for row in rows:
            answer_json(row)
    else:
        table(["image", "tag", "built"], [[str(value) for value in row.values()] for row in rows])


@app.command("build")
def build(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE…]", help="All if none.")
    ] = None,
    json: Json = False,
) -> None:
    """Build images that are not built yet."""
    from kernel_env.sandbox.docker import engine, images

    client = engine.connect()
    wanted = [images.find(name) for name in names] if names else list(images.known().values())
    with progress() as tell:
        for image in wanted:
            images.build(client, image, tell)
    for image in wanted:
        if json:
            answer_json({"image": image.name, "tag": image.tag})
        else:
            answer(f"{image.name}: {image.tag}")
