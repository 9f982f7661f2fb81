"""How fast the Model report is: first paint and answer of the threshold slider in a browser, and the report as a file.

    python benchmarks/report.py

Needs requirements-dev.txt and Chromium, and a machine with nothing else to do. Writes benchmarks/report.json, from which
`benchmarks/readme.py` takes a table of docs/RESULTS.md. The app serves four models, copies of the committed ones if need be.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page  # noqa: E402

from covid_core.files import write_json  # noqa: E402
from covid_core.inference.bundle import load_bundle  # noqa: E402
from covid_core.paths import model_names, models_dir  # noqa: E402
from covid_core.report.build import build_report, default_options  # noqa: E402
from covid_core.report.html import report_html  # noqa: E402
from covid_core.report.record import read_record  # noqa: E402
from tests.browser.app_server import running_app, running_browser  # noqa: E402

MODELS, VISITS, STEPS = 4, 7, 12
WATCH = """() => {
  window.seen = [];
  const cells = () => [...document.querySelectorAll('.js-plotly-plot')].slice(0, 1)
    .map(plot => [...plot.querySelectorAll('.annotation-text')].map(text => text.textContent).join('|'))
    .concat([...document.querySelectorAll('[data-testid=stTable]')].map(table => table.textContent)).join('|');
  window.cells = cells;
  document.addEventListener('keydown', () => { window.pressed = performance.now(); window.seen = []; }, true);
  new MutationObserver(() => window.seen.push([performance.now() - window.pressed, cells()]))
    .observe(document.body, {subtree: true, childList: true, characterData: true});
}"""
SETTLED = """() => {
  const now = window.cells();
  let since = null;
  for (const [milliseconds, cells] of window.seen) since = cells === now ? since ?? milliseconds : null;
  return since;
}"""


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "models"
        names = model_names()
        for number in range(MODELS):
            name = names[number % len(names)]
            target = name if number < len(names) else f"copy-{number}-of-{name}"
            shutil.copytree(models_dir() / name, folder / target)
        os.environ["COVID_MODELS_DIR"] = str(folder)
        with running_app(Path(scratch) / "app.log") as address, running_browser() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            first, *paints = [_first_paint(page, address) for _ in range(VISITS + 1)]
            answers = _slider_answers(page)
        del os.environ["COVID_MODELS_DIR"]
    result = {
        "models": MODELS,
        "first_visit_seconds": round(first, 2),
        "first_paint_seconds": round(statistics.median(paints), 2),
        "slider_milliseconds": round(statistics.median(answers)),
        "slider_slowest_milliseconds": round(max(answers)),
        **_files(),
    }
    write_json(Path(__file__).with_suffix(".json"), result)
    print(json.dumps(result, indent=2))


def _first_paint(page: Page, address: str) -> float:
    """Seconds until the verdict, the headline figures and the first chapter's title are on the page."""
    page.goto("about:blank")
    started = time.perf_counter()
    page.goto(f"{address}/Model_report")
    page.get_by_role("heading", name="Confusion matrix").wait_for()
    return time.perf_counter() - started


def _slider_answers(page: Page) -> list[float]:
    """Milliseconds from a key to the last change of the confusion matrix and the tables, for some steps of the threshold."""
    page.wait_for_timeout(3000)
    page.evaluate(WATCH)
    page.get_by_role("slider").first.focus()
    answers = []
    for _ in range(STEPS):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(1200)
        answers.append(float(page.evaluate(SETTLED)))
    return answers


def _files() -> dict[str, float]:
    records = [read_record(load_bundle(models_dir() / name)) for name in model_names()]
    started = time.perf_counter()
    report = build_report(default_options(records[0], tuple(records[1:])))
    made = time.perf_counter()
    page = report_html(report)
    written = time.perf_counter()
    return {
        "report_seconds": round(made - started, 2),
        "html_seconds": round(written - made, 2),
        "html_megabytes": round(len(page.encode()) / 1e6, 1),
    }


if __name__ == "__main__":
    main()
