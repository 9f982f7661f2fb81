"""Write the generated parts of README.md and docs/*.md from the files that hold their figures.

These are the bundles' evaluation.json, the measurements of benchmarks/*.json, the search of benchmarks/trials.py
(docs/experiments/heads.json), and the other docs/experiments/*.json, each the evaluation.json of a `crossval`.

python benchmarks/readme.py           rewrites what stands between `<!-- generated: PART -->` and `<!-- end -->`
python benchmarks/readme.py --check   exit code 1 if a document is out of date (a test calls this)
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from covid_core.errors import REFUSALS, BundleError  # noqa: E402
from covid_core.evaluation.evaluate import read_evaluation  # noqa: E402
from covid_core.evaluation.summary import best_baseline, described  # noqa: E402
from covid_core.files import read_json, write_text  # noqa: E402
from covid_core.paths import DEFAULT_MODEL  # noqa: E402
from covid_core.report.document import Table  # noqa: E402
from covid_core.report.tables import optional_tables  # noqa: E402
from covid_core.report.words import TITLES  # noqa: E402

DOCUMENTS = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
EXPERIMENTS = PROJECT / "docs" / "experiments"
MODELS = (DEFAULT_MODEL, "mobilenetv2-finetuned", "mobilenetv2")
HEADS = "heads.json"
HOW = {"out_of_fold": "cross-validation", "test": "one split"}
METRICS = ("within_source_auc", "roc_auc", "sensitivity", "specificity", "balanced_accuracy")
SPEED = {
    "serving": """Measured on {machine}; the image is a {film}.

| one image, whole process (median) | `predict` | Keras | ratio |
|---|---:|---:|---:|
| time | {one_film[predict_seconds]:.2f} s | {one_film[keras_seconds]:.1f} s | {one_film[times_faster]:.0f} |
| peak memory | {one_film[predict_peak_mib]:.0f} MiB | {one_film[keras_peak_mib]:.0f} MiB | {one_film[times_less_memory]:.0f} |

In one process: {many_films[films_per_second]:.0f} images a second over {many_films[films]} images; the network takes \
{many_films[network_share]:.0%} of the time.""",
    "report": """| Model report with {models} models | |
|---|---:|
| first words, first visitor of a fresh server | {first_visit_seconds:.1f} s |
| first words, every later visitor | {first_paint_seconds:.1f} s |
| all tables right after a step of the threshold, median (slowest) | {slider_milliseconds} ms ({slider_slowest_milliseconds} ms) |
| HTML file: its chapters | {report_seconds:.1f} s |
| HTML file: writing it | {html_seconds:.2f} s |
| HTML file: size | {html_megabytes:.0f} MB |""",
    "dataset": """| made-up table of {rows:,} rows ({megabytes} MB) | |
|---|---:|
| read | {alone[read_seconds]:.1f} s |
| filter, median over the kinds of filters | {alone[filter_milliseconds]:.0f} ms |
| filter, slowest | {alone[filter_slowest_milliseconds]} ms |
| memory of the process at most | {alone[peak_mib]} MiB |
| counts on the page right after a filter, median | {page[filter_median_milliseconds]} ms |
| counts on the page right after a filter, slowest | {page[filter_slowest_milliseconds]} ms |
| memory of the server at most | {page[server_peak_mib]} MiB |""",
    "pictures": """| {films:,} drawn images ({films_megabytes:,} MB) on {cores} cores | |
|---|---:|
| thumbnails and fingerprints, the first time | {first_seconds:.0f} s |
| the second time | {second_seconds:.1f} s |
| with {changed} images changed and {added} added | {changed_seconds:.1f} s |
| a page of {page} thumbnails, on the server | {page_milliseconds:.0f} ms |""",
    "training": """Measured on {machine}, TensorFlow {tensorflow}: {films} images of the training part \
({files_mib:.0f} MiB, median {median_megapixels:.2f} megapixels), input of {input_side} pixels a side, batches of \
{batch_size}, median of {runs} runs:

| input of | each epoch | once |
|---|---:|---:|
| the first epoch | {epoch_input[plain_first_seconds]:.2f} s | {epoch_input[kept_first_seconds]:.2f} s |
| every later epoch | {epoch_input[plain_further_seconds]:.2f} s | {epoch_input[kept_further_seconds]:.2f} s |""",
}
"""Measurement of benchmarks/ -> what the documents say of it."""


def figures() -> str:
    """Five figures of the default model, each beside one that puts it into perspective."""
    evaluation = _evaluation()
    unseen, own = evaluation["hospitals"], evaluation["metrics"]["within_source_auc"]
    baseline = best_baseline(evaluation, "within_source_auc")
    called = {one["kind"]: one["called_covid"] for one in evaluation["strangers"] if "COVID-19" not in one["kind"]}
    most, least = (choose(called, key=lambda kind: called[kind]["value"]) for choose in (max, min))
    flipped = {one["change"]: one["flipped"] for one in evaluation["robustness"]["changes"]}
    worst = max(flipped, key=lambda change: flipped[change])
    usual = median(flipped.values())
    hospitals = "AUC at hospitals never seen, pairs of one hospital group"
    collection = "AUC in the COVID-19 Image Data Collection, pairs of one publisher"
    pairs = (
        (hospitals, unseen["roc_auc"], "image size alone", unseen["size_alone"]["roc_auc"]),
        ("Sensitivity at these hospitals", unseen["sensitivity"], "specificity", unseen["specificity"]),
        (collection, own, f"best without pixels ({baseline.name})", baseline.metric),
        (f"False alarms in the worst collection never seen ({most})", called[most], f"best ({least})", called[least]),
    )
    rows = [(title, described(figure), f"{beside}: {described(other)}") for title, figure, beside, other in pairs]
    title = f"Calls that flip under the worst harmless change ({worst})"
    rows.append((title, f"{flipped[worst]:.1%}", f"median of {len(flipped)} changes: {usual:.1%}"))
    return _markdown(("Figure", "Default model", "To compare"), rows)


def results() -> str:
    """The table of results on held-out images, one row a model."""
    evaluations = {name: _evaluation(name) for name in MODELS}
    rows = (
        (
            f"`{name}`",
            f"{_counted(one)}, {HOW[one['part']]}",
            *(described(one["metrics"][metric]) for metric in METRICS),
        )
        for name, one in evaluations.items()
    )
    stages = (_json(PROJECT / "models" / name / "bundle.json")["training"]["stages"].values() for name in MODELS[:2])
    default, plain = (sum(stage["seconds"] for stage in one) / 60 for one in stages)
    return (
        _markdown(("model", "held-out images (patients)", *(TITLES[name] for name in METRICS)), rows)
        + f"\n\nOn two cores, `{DEFAULT_MODEL}` was trained, cross-validated and exported in {default:.0f} minutes; the two "
        f"stages of the others took {plain:.0f}."
    )


def measurements() -> str:
    """Every table of what was measured of the default model; that of the gate stands on its own."""
    measured = {name: block for name, block in _evaluation().items() if name != "gate"}
    return "\n\n".join(f"### {one.title}\n\n{one.note}\n\n{one.markdown()}" for one in optional_tables(measured))


def gate() -> str:
    """What the gate of the default model refuses."""
    (table,) = optional_tables({"gate": _evaluation()["gate"]})
    return f"{table.note}\n\n{table.markdown()}"


def targets() -> str:
    """The targets of the default model, and what it reaches."""
    evaluation = _evaluation()
    hospitals, opacities = evaluation["hospitals"], evaluation["opacity_map"]
    nih = evaluation["external"]["nih"]["by_finding"]["No Finding"]["specificity"]
    figure1 = evaluation["external"]["figure1"]["by_finding"]["COVID-19"]["sensitivity"]
    seconds = 1 / _benchmark("serving")["many_films"]["films_per_second"]
    called = {one["kind"]: one["called_covid"]["value"] for one in evaluation["strangers"]}
    silently = {one["name"]: one["called_silently"]["value"] for one in evaluation["gate"]["hospitals"]}
    changes = {one["change"]: one for one in evaluation["robustness"]["changes"]}
    worst = max(changes.values(), key=lambda one: one["flipped"])
    at_least = (
        ("SIIM, hospital group left out: AUC within a group", hospitals["roc_auc"]["value"], 0.93),
        ("the same: sensitivity at the operating point", hospitals["sensitivity"]["value"], 0.82),
        ("the same: specificity at the operating point", hospitals["specificity"]["value"], 0.82),
        ("dataset: AUC within a source", evaluation["metrics"]["within_source_auc"]["value"], 0.85),
        ("dataset, source left out: AUC", evaluation["left_out_sources"]["within_source_auc"]["value"], 0.82),
        ("NIH, No Finding (external): specificity", nih["value"], 0.90),
        ("NIH, verified normal, collection left out: specificity", 1 - called["NIH, verified normal"], 0.95),
        ("Figure 1 (external): sensitivity", figure1["value"], 0.80),
        ("opacity map: pointing game", opacities["pointing_game"]["value"], 0.80),
    )
    at_most = (
        ("tuberculosis called COVID-19, collection left out", called["Pakistan, tuberculosis"], 0.15),
        ("normal children called COVID-19 without a caution", silently["pretraining, No Finding"], 0.05),
        ("normal children called COVID-19, collection left out, no gate", called["children, normal"], 0.05),
        (f"calls flipped by the worst harmless change ({worst['change']})", worst["flipped"], 0.05),
        ("false alarms that two drawn arrows add", -changes["two arrows drawn in"]["specificity"], 0.05),
        ("calibration error, dataset", evaluation["metrics"]["ece"]["value"], 0.06),
        ("calibration error, SIIM with the hospital group left out", hospitals["ece"], 0.06),
        ("seconds for one image, one core", seconds, 0.08),
    )
    rows = [(name, f"at least {bound:.2f}", value, value >= bound) for name, value, bound in at_least]
    rows += [(name, f"at most {bound:.2f}", value, value <= bound) for name, value, bound in at_most]
    cells = ((name, target, f"{value:.3f}", "yes" if met else "**no**") for name, target, value, met in rows)
    return _markdown(("figure", "target", "reached", "met"), cells)


def experiments() -> str:
    """The table of cross-validations, the default model first, then what the same folds give without a pixel."""
    default = _evaluation()
    others = {path.stem: _json(path) for path in sorted(EXPERIMENTS.glob("*.json")) if path.name != HEADS}
    named = [(f"**{name}**", one, one["metrics"]) for name, one in {DEFAULT_MODEL: default, **others}.items()]
    named += [(f"{name}, no pixels", default, metrics) for name, metrics in default["baselines"].items()]
    areas = ("roc_auc", "within_source_auc")
    rows = (
        (name, _counted(one), *(described(metrics[area]) if area in metrics else "-" for area in areas))
        for name, one, metrics in named
    )
    table = _markdown(("recipe or baseline", "images (patients)", "ROC AUC", "within a source"), rows)
    pairs = "AUCs are over the pairs of one fold; those of the two cross-validations of MobileNetV2 are over all folds pooled."
    return f"{table}\n\n{pairs}"


def heads() -> str:
    """The table of the search for the heads."""
    names = {
        "within_fold": "dataset, AUC within a fold",
        "within_source": "dataset, AUC within a source",
        "hospital_left_out": "SIIM, hospital group left out",
        "worst_hospital": "worst hospital group",
    }
    trials = _json(EXPERIMENTS / HEADS)["trials"]
    return _markdown(
        ("trial", *names.values()), ((trial["name"], *(f"{trial[name]:.3f}" for name in names)) for trial in trials)
    )


def reasons() -> str:
    """The codes of refusals, and what to do next."""
    rows = ((f"`{reason}`", next_step) for reason, next_step in REFUSALS.items())
    return _markdown(("reason", "what to do next, where nothing better is known"), rows)


def intake() -> str:
    """What became of real odd files, one row a collection."""
    rows = []
    for name, found in _benchmark("intake").items():
        outcomes = dict(found["outcomes"])
        predicted = outcomes.pop("accepted", 0)
        refused = ", ".join(f"{reason} {count}" for reason, count in outcomes.items())
        numbers = (len(found["crashed"]), f"{found['slowest_seconds']:.2f}", f"{found['peak_mib']:.0f}")
        rows.append((name, found["files"], predicted, refused, *numbers))
    return _markdown(("collection", "files", "predicted", "refused", "crashed", "slowest, s", "peak memory, MiB"), rows)


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return Table("", "", pd.DataFrame(list(rows), columns=list(columns)).astype(str)).markdown()


def _json(path: Path) -> dict[str, Any]:
    return read_json(path, BundleError)


def _benchmark(name: str) -> dict[str, Any]:
    return _json(PROJECT / "benchmarks" / f"{name}.json")


def _evaluation(name: str = DEFAULT_MODEL) -> dict[str, Any]:
    return read_evaluation(PROJECT / "models" / name / "evaluation.json")


def _counted(evaluation: Mapping[str, Any]) -> str:
    return f"{evaluation['counts']['images']} ({evaluation['counts']['patients']})"


_TABLES = (figures, results, measurements, gate, targets, experiments, heads, reasons, intake)
PARTS: Mapping[str, Callable[[], str]] = {
    **{make.__name__: make for make in _TABLES},
    **{name: lambda name=name: SPEED[name].format(**_benchmark(name)) for name in SPEED},
}
"""Name of a generated part -> what writes it."""


def filled(text: str, parts: Mapping[str, Callable[[], str]] = PARTS) -> str:
    """A document with its generated parts written again.

    Raises:
        KeyError: a mark names no part.
    """
    marked = r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)"
    return re.sub(marked, lambda found: f"{found[1]}{parts[found[2]]()}\n{found[3]}", text, flags=re.DOTALL)


def main() -> int:
    """Rewrite or check all documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say which documents are out of date")
    check = parser.parse_args().check
    outdated = 0
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        fresh = filled(text)
        if fresh == text:
            continue
        if check:
            print(f"{document.name} is out of date: run python benchmarks/readme.py")
            outdated = 1
        else:
            write_text(document, fresh)
    return outdated


if __name__ == "__main__":
    sys.exit(main())
