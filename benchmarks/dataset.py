"""How fast and how large a table of 100,000 rows is: reading and preparing it, each filter, each figure's counts, and the page.

    python benchmarks/dataset.py

The table is made up from a seed (`tests/dataset/made_up_table.py`). It is measured in a process of its own, and again in one
that has imported Streamlit as the app has. As on the page, one choice of rows is held at a time beside the whole table, and the
bytes of the file are let go once they are read. Then the Dataset page itself is opened over it in Chromium, in each section one
view after the other is added to the filter, and it is taken how long the counts take to change and how large the server grows.
Needs requirements-dev.txt, Chromium, Linux, and a machine with nothing else to do. Prints a table in Markdown and writes
benchmarks/dataset.json, from which `benchmarks/readme.py` takes a table of docs/DATASET.md.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.intake import peak_mib  # noqa: E402

ROWS, TIMES = 100_000, 7
SECTIONS, VIEWS = ("Overview", "Images", "Table", "Cohort"), ("PA", "AP", "L", "AP Supine")
_MEASURE = "--measure"
_COUNTS = re.compile(r"\d+ (of \d+ )?images?, \d+ patient")
_CLICK_AND_WAIT = """(option) => new Promise((done) => {
    const counts = () => [...document.querySelectorAll('[data-testid=stMarkdown]')]
        .map((one) => one.textContent).find((text) => /images?, \\d+ patient/.test(text))
    const before = counts(), start = performance.now()
    const wait = () => {
        const now = counts()
        if (now && now !== before) requestAnimationFrame(() => done(performance.now() - start))
        else requestAnimationFrame(wait)
    }
    option.click()
    wait()
})"""


def measure(path: Path) -> dict[str, object]:
    """Read and filter the table of a file in this process: milliseconds, and mebibytes at the peak."""
    from covid_core.dataset import summaries  # noqa: PLC0415  the parent process stays light
    from covid_core.dataset.cohort import select_cohort  # noqa: PLC0415
    from covid_core.dataset.filters import Filters, filtered, with_choices  # noqa: PLC0415
    from covid_core.dataset.metadata import read_metadata  # noqa: PLC0415

    imported = peak_mib()
    begin = time.perf_counter()
    table = read_metadata(path)
    read = time.perf_counter()
    files = set(table["filename"][::2])
    explored = with_choices(table, files=files)
    prepared = time.perf_counter()
    filters = {
        name: _milliseconds(lambda chosen=chosen: filtered(explored, chosen))
        for name, chosen in chosen_filters().items()
    }
    peak = peak_mib()
    kept = filtered(explored, Filters())
    figures = {
        function.__name__: _milliseconds(lambda function=function: function(kept))
        for function in (
            *(summaries.counts, summaries.finding_hierarchy, summaries.view_by_label, summaries.source_by_label),
            *(summaries.age_sex_pyramid, summaries.images_per_patient, summaries.days_since_onset, summaries.outcomes),
            *(summaries.images_by_country, summaries.cohort_sentence),
        )
    }
    figures["missingness"] = _milliseconds(lambda: summaries.missingness(kept, table))
    with_figures = peak_mib()
    begin_cohort = time.perf_counter()
    exclusions = select_cohort(table, None).exclusions
    selected = time.perf_counter()
    with_choices(table, files=files, exclusions=exclusions)
    return {
        "read_seconds": round(read - begin, 2),
        "with_choices_milliseconds": round((prepared - read) * 1e3),
        "filters": filters,
        "filter_milliseconds": statistics.median([one["median"] for one in filters.values()]),
        "filter_slowest_milliseconds": max(one["slowest"] for one in filters.values()),
        "figures": figures,
        "select_cohort_milliseconds": round((selected - begin_cohort) * 1e3),
        "with_choices_and_cohort_milliseconds": round((time.perf_counter() - selected) * 1e3),
        "imported_mib": round(imported),
        "peak_mib": round(peak),
        "peak_with_figures_mib": round(with_figures),
        "peak_with_cohort_mib": round(peak_mib()),
    }


def chosen_filters() -> dict[str, object]:
    """One of each kind of filter, and combinations."""
    from covid_core.dataset.filters import NOT_GIVEN, Filters  # noqa: PLC0415

    return {
        "none": Filters(),
        "finding": Filters(findings=["COVID-19"]),
        "finding by path": Filters(findings=["Pneumonia/Viral"]),
        "view": Filters(views=["PA", "AP"]),
        "sex": Filters(sexes=["F", NOT_GIVEN]),
        "modality": Filters(modalities=["X-ray"]),
        "class": Filters(labels=["covid"]),
        "source": Filters(sources=[f"www.site{number}.example" for number in range(5)]),
        "country": Filters(countries=["IT", NOT_GIVEN]),
        "RT-PCR": Filters(rt_pcr=["Y", NOT_GIVEN]),
        "licence": Filters(licences=["CC BY", NOT_GIVEN]),
        "age": Filters(age_from=30, age_to=70),
        "has a file": Filters(has_file=True),
        "one word": Filters(text="cough"),
        "a word nobody wrote": Filters(text="zebra"),
        "four words": Filters(text="dry cough oxygen days"),
        "all at once": Filters(
            ["Viral"], ["PA", "AP"], ["M"], ["X-ray"], ["covid"], age_from=30, has_file=True, text="dry cough"
        ),
    }


def _milliseconds(function: Callable[[], object]) -> dict[str, int]:
    seconds = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return {"median": round(statistics.median(seconds) * 1e3), "slowest": round(max(seconds) * 1e3)}


def measure_apart(path: Path, *further: str) -> dict[str, object]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, _MEASURE, str(path), *further]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measure_page(folder: Path) -> dict[str, object]:
    """The Dataset page over the table of a folder, in a browser: seconds, milliseconds, and mebibytes of the server."""
    from tests.browser.app_server import running_app, running_browser  # noqa: PLC0415

    environment = {"COVID_DATASET_DIR": str(folder), "COVID_CACHE_DIR": str(folder / "cache")}
    with running_app(folder / "app.log", **environment) as address, running_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        begin = time.perf_counter()
        page.goto(f"{address}/Dataset")
        page.get_by_text(_COUNTS).first.wait_for()
        opened = time.perf_counter() - begin
        _rest(page)
        answers = {section: _answers(page, section) for section in SECTIONS}
        every = [one for answer in answers.values() for one in answer]
        return {
            "opened_seconds": round(opened, 1),
            "filter_milliseconds": {name: round(statistics.median(answer)) for name, answer in answers.items()},
            "filter_median_milliseconds": round(statistics.median(every)),
            "filter_slowest_milliseconds": round(max(every)),
            "server_peak_mib": round(_peak_of_server(address)),
        }


def _answers(page: "Page", section: str) -> list[float]:
    """Milliseconds from the choice of a further view to the counts that follow from it."""
    page.get_by_role("radio", name=section).click()
    _rest(page)
    milliseconds = []
    for view in VIEWS:
        page.get_by_role("combobox", name="View").first.click()
        option = page.get_by_role("option", name=view, exact=True)
        option.wait_for()
        milliseconds.append(float(page.evaluate(_CLICK_AND_WAIT, option.element_handle())))
        _rest(page)
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear all filters").click()
    _rest(page)
    return milliseconds


def _rest(page: "Page") -> None:
    page.wait_for_timeout(500)
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
    )
    page.wait_for_timeout(500)


def _peak_of_server(address: str) -> float:
    """Peak resident memory of the process that serves an address, as Linux tells it."""
    port = address.rpartition(":")[2].encode()
    for process in Path("/proc").glob("[0-9]*"):
        command = (process / "cmdline").read_bytes().split(b"\0")
        if b"--server.port" in command and port in command:
            (line,) = [one for one in (process / "status").read_text().splitlines() if one.startswith("VmHWM")]
            return int(line.split()[1]) / 2**10
    raise SystemExit(f"There is no process that serves {address}.")


def report(results: dict[str, dict[str, object]]) -> str:
    """Lay the results out in Markdown."""
    names = list(results)
    rows: list[list[object]] = [["", *names], ["---", *["---:"] * len(names)]]
    rows += [
        [key.replace("_", " "), *(result[key] for result in results.values())]
        for key, value in results[names[0]].items()
        if not isinstance(value, dict)
    ]
    for group in ("filters", "figures"):
        for key in results[names[0]][group]:
            cells = [result[group][key] for result in results.values()]
            rows.append([f"{key}, median (slowest) ms", *(f"{cell['median']} ({cell['slowest']})" for cell in cells)])
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> None:
    """Measure, write and print."""
    if sys.argv[1:2] == [_MEASURE]:
        for module in sys.argv[3:]:
            __import__(module)
        print(json.dumps(measure(Path(sys.argv[2]))))
        return
    from tests.dataset.made_up_table import made_up_csv  # noqa: PLC0415  not in the processes that are measured

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "metadata.csv"
        path.write_bytes(made_up_csv(ROWS))
        megabytes = path.stat().st_size / 1e6
        results = {"alone": measure_apart(path), "with streamlit": measure_apart(path, "streamlit")}
        page = measure_page(Path(scratch))
    print(f"{ROWS} rows, {megabytes:.0f} MB\n\n{report(results)}\n\nThe page: {json.dumps(page)}")
    written = {"rows": ROWS, "megabytes": round(megabytes), **results, "page": page}
    Path(__file__).with_suffix(".json").write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
