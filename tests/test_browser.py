"""The course in JupyterLab itself, where Playwright and Chromium are installed: a notebook that is not trusted shows
its pictures, and a panel answers its reader's clicks."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event
from urllib.request import urlopen

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
WAIT = 180_000  # milliseconds after which what hangs is given up
ALL_CELLS = {"windowingMode": "none"}  # else what is not on the screen is not in the page
PANEL = """from nascore.show.widgets import SearchPanel
panel = SearchPanel("evolution", data="nasbench201", budget="reduced", trials=100_000, fields=("trials",))
panel"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab over a folder with a panel and a copy of the course, as a fresh clone is: its address."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns("runs", "__pycache__"))
    shutil.copytree(NOTEBOOKS.parent / "figures", folder / "figures")
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": PANEL}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    panel = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "panel.ipynb").write_text(json.dumps(panel))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(ALL_CELLS))
    port = free_port()
    options = [f"--port={port}", f"--ServerApp.root_dir={folder}", "--no-browser", "--allow-root"]
    options += ["--IdentityProvider.token=", f"--LabApp.user_settings_dir={folder / 'settings'}"]
    places = {"JUPYTER_DATA_DIR": str(folder / "data"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    command = [sys.executable, "-m", "jupyterlab", *options]
    log = (folder / "log").open("w")
    server = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/lab"
    try:
        for _ in range(120):
            try:
                urlopen(address).close()
                break
            except OSError:
                Event().wait(1)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def page(lab):
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(WAIT)
        yield page
        browser.close()


def test_a_panel_answers(lab, page):
    page.goto(f"{lab}/tree/panel.ipynb")
    page.click(".jp-CodeCell .cm-content")
    page.keyboard.press("Shift+Enter")
    page.get_by_text("ready: about").wait_for()
    assert page.locator("abbr[title='architectures evaluated']").inner_text() == "trials"
    page.get_by_text("One of 15,625 architectures.").wait_for()
    page.locator(".widget-button", has_text="Run").click()
    page.get_by_text(" left").wait_for()  # step 7 of ...; about ... left
    page.locator("svg[aria-label^='reward: each']").wait_for()
    page.locator(".widget-button", has_text="Stop").click()
    page.get_by_text("stopped after").wait_for()


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_no_picture_is_missing_before_a_cell_has_run(lab, page, name):
    notebook = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    stored = sum("image/png" in out.get("data", {}) for out in outputs)
    text = "".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown")
    page.goto(f"{lab}/tree/notebooks/{name}")
    page.wait_for_function(f"document.querySelectorAll('.jp-Cell').length >= {len(notebook['cells'])}")
    page.wait_for_function(f"document.querySelectorAll('.jp-OutputArea img').length == {stored}")
    shown = "[...document.querySelectorAll('.jp-MarkdownOutput img')]"
    assert page.evaluate(f"{shown}.length") == text.count("![")
    page.wait_for_function(f"{shown}.every(image => image.complete && image.naturalWidth > 0)")
