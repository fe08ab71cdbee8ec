"""``iqa.py docs``: pictures of the documentation, of its nodes, and workflows."""

from __future__ import annotations

import argparse

from .processes import start_comfyui

SUMMARY = "make the pictures of README.md and docs/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Make all pictures of README.md and docs/ into docs/images/, from the embedded models. Takes
a minute or two; run it when tests/unit/test_documentation.py says that a picture is stale.

--workflows builds workflows in ComfyUI's front end, as documentation/workflows/ describes them, instead: both forms
and the thumbnail of each, into workflows/. --nodes makes the pictures of the help pages, into web/docs/images/: it runs
small graphs in the front end and cuts out the nodes; run it when tests/unit/test_help.py says so. Both need Playwright
and a Chromium."""
    parser.add_argument(
        "--workflows", nargs="*", metavar="NAME", help="make these workflows, or all of them, and no pictures"
    )
    parser.add_argument(
        "--keep-thumbnails", action="store_true", help="of --workflows: make the forms only, which takes seconds"
    )
    parser.add_argument("--pictures", nargs="+", default=(), metavar="NAME", help="of docs/images: these alone")
    parser.add_argument("--nodes", nargs="*", metavar="NODE", help="picture these nodes, or all of them")


def run(options: argparse.Namespace) -> None:
    start_comfyui()
    if options.workflows is not None:
        import comfyui_runtime
        from comfyui_client import Client
        from iqa_adapter.documentation.workflow_files import make_workflows

        example = comfyui_runtime.find_comfyui() / "input" / "example.png"
        make_workflows(options.workflows, comfyui_runtime.serve, Client, example, not options.keep_thumbnails)
        return
    if options.nodes is not None:
        import comfyui_runtime
        from comfyui_client import Client
        from iqa_adapter.documentation import node_pictures

        node_pictures.make(comfyui_runtime.serve, Client, tuple(options.nodes))
        return
    from iqa_adapter.documentation.making import make

    make(options.pictures)
