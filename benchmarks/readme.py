"""Write the figures of README.md, docs/EXPERIMENTS.md and docs/INTAKE.md from the files that hold them.

These are the bundles' evaluation.json; serving.json, report.json, dataset.json, pictures.json, training.json and intake.json of
benchmarks/; docs/experiments/heads.json, as benchmarks/trials.py writes it; and the other docs/experiments/*.json
(cross-validations, as `crossval` writes them to --out as evaluation.json).

python benchmarks/readme.py           rewrites the parts of README.md between the generated marks
python benchmarks/readme.py --check   exit code 1 if they are not up to date (a test calls this)
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from covid_core.errors import REFUSALS, BundleError  # noqa: E402
from covid_core.evaluation.evaluate import read_evaluation  # noqa: E402
from covid_core.evaluation.summary import described  # noqa: E402
from covid_core.files import read_json, write_text  # noqa: E402
from covid_core.paths import DEFAULT_MODEL  # noqa: E402
from covid_core.report.document import Table  # noqa: E402
from covid_core.report.tables import optional_table  # noqa: E402
from covid_core.report.words import TITLES  # noqa: E402

README = PROJECT / "README.md"
EXPERIMENTS = PROJECT / "docs" / "EXPERIMENTS.md"
INTAKE = PROJECT / "docs" / "INTAKE.md"
DEFAULT = DEFAULT_MODEL
MODELS = (DEFAULT, "mobilenetv2-finetuned", "mobilenetv2")
HEADS = "heads.json"
HOW = {"out_of_fold": "cross-validation", "test": "one split"}
METRICS = ("within_source_auc", "roc_auc", "sensitivity", "specificity", "balanced_accuracy")


def results() -> str:
    """The table of results on held-out films, one row a model."""
    head = f"| model | held-out films (patients) | {' | '.join(TITLES[name] for name in METRICS)} |"
    lines = [head, "|---" * (len(METRICS) + 2) + "|"]
    for name in MODELS:
        evaluation = _evaluation_of(name)
        counts = evaluation["counts"]
        cells = [described(evaluation["metrics"][metric]) for metric in METRICS]
        films = f"{counts['images']} ({counts['patients']}), {HOW[evaluation['part']]}"
        lines.append(f"| `{name}` | {films} | {' | '.join(cells)} |")
    made, asked = (_minutes(name) for name in (DEFAULT, "mobilenetv2-finetuned"))
    lines += [
        "",
        f"On two cores, `{DEFAULT}` was trained, cross-validated and exported in {made:.0f} minutes; the two stages of the "
        f"others took {asked:.0f}.",
    ]
    return "\n".join(lines)


def _minutes(name: str) -> float:
    stages = read_json(PROJECT / "models" / name / "bundle.json", BundleError)["training"]["stages"]
    return float(sum(stage["seconds"] for stage in stages.values()) / 60)


def further() -> str:
    """What was measured of the default model beyond one number: the blocks a reader asks for first."""
    blocks = ("former", "hospitals", "robustness", "opacity_map", "baselines", "sources", "external")
    tables = (_table(block) for block in blocks)
    return "\n\n".join(f"**{table.title}.** {table.note}\n\n{table.markdown()}" for table in tables)


def _table(block: str) -> Table:
    table = optional_table(_evaluation_of(DEFAULT), block)
    if table is None:
        raise SystemExit(f"The evaluation of {DEFAULT} has no block {block!r}.")
    return table


def targets() -> str:
    """What was asked of the default model, and what it reached."""
    evaluation = _evaluation_of(DEFAULT)
    hospitals, opacities = evaluation["hospitals"], evaluation["opacity_map"]
    nih = evaluation["external"]["nih"]["by_finding"]["No Finding"]["specificity"]
    figure1 = evaluation["external"]["figure1"]["by_finding"]["COVID-19"]["sensitivity"]
    film = 1 / json.loads((PROJECT / "benchmarks" / "serving.json").read_text())["many_films"]["films_per_second"]
    called = {one["kind"]: one["called_covid"]["value"] for one in evaluation["strangers"]}
    silently = {one["name"]: one["called_silently"]["value"] for one in evaluation["gate"]["hospitals"]}
    changes = {one["change"]: one for one in evaluation["robustness"]["changes"]}
    worst = max(changes.values(), key=lambda one: one["flipped"])
    rows: list[tuple[str, float, float, bool]] = [
        ("SIIM, hospital group left out: AUC within a group", hospitals["roc_auc"]["value"], 0.93, True),
        ("the same: sensitivity at the operating point", hospitals["sensitivity"]["value"], 0.82, True),
        ("the same: specificity at the operating point", hospitals["specificity"]["value"], 0.82, True),
        ("dataset: AUC within a source", evaluation["metrics"]["within_source_auc"]["value"], 0.85, True),
        ("dataset, source left out: AUC", evaluation["left_out_sources"]["within_source_auc"]["value"], 0.82, True),
        ("NIH, No Finding (external): specificity", nih["value"], 0.90, True),
        ("NIH, verified normal, collection left out: specificity", 1 - called["NIH, verified normal"], 0.95, True),
        ("tuberculosis called COVID-19, collection left out", called["Pakistan, tuberculosis"], 0.15, False),
        ("Figure 1 (external): sensitivity", figure1["value"], 0.80, True),
        ("normal children called COVID-19 without a caution", silently["pretraining, No Finding"], 0.05, False),
        ("normal children called COVID-19, collection left out, no gate", called["children, normal"], 0.05, False),
        (f"calls flipped by the worst harmless change ({worst['change']})", worst["flipped"], 0.05, False),
        ("false alarms that two drawn arrows add", -changes["two arrows drawn in"]["specificity"], 0.05, False),
        ("opacity map: pointing game", opacities["pointing_game"]["value"], 0.80, True),
        ("calibration error, dataset", evaluation["metrics"]["ece"]["value"], 0.06, False),
        ("calibration error, SIIM with the hospital group left out", hospitals["ece"], 0.06, False),
        ("seconds for one image, one core", film, 0.08, False),
    ]
    lines = ["| figure | asked for | reached | |", "|---|---:|---:|---|"]
    for name, value, bound, at_least in rows:
        met = value >= bound if at_least else value <= bound
        sign = "at least" if at_least else "at most"
        lines.append(f"| {name} | {sign} {bound:.2f} | {value:.3f} | {'yes' if met else '**no**'} |")
    return "\n".join(lines)


def serving() -> str:
    """What serving costs."""
    measured: dict[str, Any] = json.loads((PROJECT / "benchmarks" / "serving.json").read_text())
    one, many = measured["one_film"], measured["many_films"]
    return (
        f"Measured on {measured['machine']}, one film being a {measured['film']}:\n\n"
        "| one film, whole process (median) | `predict` | Keras | ratio |\n|---|---:|---:|---:|\n"
        f"| time | {one['predict_seconds']:.2f} s | {one['keras_seconds']:.1f} s | {one['times_faster']:.0f} times faster |\n"
        f"| peak memory | {one['predict_peak_mib']:.0f} MiB | {one['keras_peak_mib']:.0f} MiB "
        f"| {one['times_less_memory']:.0f} times less |\n\n"
        f"In one process: {many['films_per_second']:.0f} films a second over {many['films']} films; "
        f"{many['network_share']:.0%} of the time is the network."
    )


def report() -> str:
    """How fast the Model report is."""
    measured: dict[str, Any] = json.loads((PROJECT / "benchmarks" / "report.json").read_text())
    return (
        f"The Model report with {measured['models']} models installed: first words after {measured['first_paint_seconds']:.1f} s "
        f"({measured['first_visit_seconds']:.1f} s for the first visitor of a fresh server); after a step of the threshold the "
        f"confusion matrix and all tables are right within {measured['slider_milliseconds']} ms (median, slowest "
        f"{measured['slider_slowest_milliseconds']} ms, in Chromium on the same two cores). As a file: HTML "
        f"{measured['report_seconds'] + measured['html_seconds']:.1f} s and {measured['html_megabytes']:.0f} MB."
    )


def dataset() -> str:
    """How fast and how large the Dataset page is."""
    measured: dict[str, Any] = json.loads((PROJECT / "benchmarks" / "dataset.json").read_text())
    films: dict[str, Any] = json.loads((PROJECT / "benchmarks" / "pictures.json").read_text())
    table, page = measured["alone"], measured["page"]
    return (
        f"A made-up table of {measured['rows']:,} rows ({measured['megabytes']} MB) is read in {table['read_seconds']:.1f} s and "
        f"filtered in {table['filter_milliseconds']:.0f} ms (median over the kinds of filters; slowest: "
        f"{table['filter_slowest_milliseconds']}), in a process of at most {table['peak_mib']} MiB. On the page the counts are "
        f"right {page['filter_median_milliseconds']} ms after a filter is chosen (median; slowest: "
        f"{page['filter_slowest_milliseconds']}; Chromium on the same {films['cores']} cores); the whole server had at most "
        f"{page['server_peak_mib']} MiB. Thumbnails and fingerprints of {films['films']:,} drawn films "
        f"({films['films_megabytes'] / 1e3:.1f} GB) are made in {films['first_seconds']:.0f} s, are there again after "
        f"{films['second_seconds']:.1f} s, and after {films['changed_seconds']:.1f} s with {films['changed']} of them changed "
        f"and {films['added']} added. A page of {films['page']} thumbnails takes the server {films['page_milliseconds']:.0f} ms."
    )


def training() -> str:
    """What decoding once saves."""
    measured: dict[str, Any] = json.loads((PROJECT / "benchmarks" / "training.json").read_text())
    read, side = measured["epoch_input"], measured["input_side"]
    rows = (
        ("input of the first epoch", read["plain_first_seconds"], read["kept_first_seconds"]),
        ("input of every further epoch", read["plain_further_seconds"], read["kept_further_seconds"]),
    )
    lines = [f"| {name} | {anew:.2f} s | {once:.2f} s | {anew / once:.1f} |" for name, anew, once in rows]
    return (
        f"Measured on {measured['machine']}, TensorFlow {measured['tensorflow']}: {measured['films']} films of the training part "
        f"({measured['files_mib']:.0f} MiB, median {measured['median_megapixels']:.2f} megapixels), "
        f"input {side} x {side} pixels, batches of {measured['batch_size']}, median of {measured['runs']}:\n\n"
        "| | anew each time | once | ratio |\n|---|---:|---:|---:|\n" + "\n".join(lines)
    )


def experiments() -> str:
    """The table of cross-validations, the default model first, then what the same folds give without a pixel."""
    paths = [one for one in sorted((PROJECT / "docs" / "experiments").glob("*.json")) if one.name != HEADS]
    named = {DEFAULT: _evaluation_of(DEFAULT), **{path.stem: json.loads(path.read_text()) for path in paths}}
    lines = ["| recipe or baseline | films (patients) | ROC AUC | within a source |", "|---|---|---|---|"]
    for name, evaluation in named.items():
        lines.append(f"| **{name}** | {_counted(evaluation)} | {_aucs(evaluation['metrics'])} |")
    default = named[DEFAULT]
    lines += [
        f"| {name}, no pixels | {_counted(default)} | {_aucs(found)} |" for name, found in default["baselines"].items()
    ]
    lines += [
        "",
        "AUCs are over the pairs of one fold; those of the two cross-validations of MobileNetV2 are over all folds pooled.",
    ]
    return "\n".join(lines)


def reasons() -> str:
    """The codes of refusals, and what to do next."""
    rows = [f"| `{reason}` | {next_step} |" for reason, next_step in REFUSALS.items()]
    return "\n".join(["| reason | what to do next, where nothing better is known |", "|---|---|", *rows])


def gate() -> str:
    """What the gate of the default model refuses."""
    table = _table("gate")
    return f"{table.note}\n\n{table.markdown()}"


def intake() -> str:
    """What became of real odd files, one row a collection."""
    measured: dict[str, Any] = json.loads((PROJECT / "benchmarks" / "intake.json").read_text(encoding="utf-8"))
    lines = [
        "| collection | files | predicted | refused | crashed | slowest, s | peak memory, MiB |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for name, found in measured.items():
        outcomes = dict(found["outcomes"])
        predicted = outcomes.pop("accepted", 0)
        refused = ", ".join(f"{reason} {count}" for reason, count in outcomes.items())
        lines.append(
            f"| {name} | {found['files']} | {predicted} | {refused} | {len(found['crashed'])} | {found['slowest_seconds']:.2f} | "
            f"{found['peak_mib']:.0f} |"
        )
    return "\n".join(lines)


def _counted(evaluation: dict[str, Any]) -> str:
    return f"{evaluation['counts']['images']} ({evaluation['counts']['patients']})"


def _evaluation_of(name: str) -> dict[str, Any]:
    return read_evaluation(PROJECT / "models" / name / "evaluation.json")


def _aucs(metrics: dict[str, Any]) -> str:
    names = ("roc_auc", "within_source_auc")
    return " | ".join(described(metrics[name]) if name in metrics else "-" for name in names)


def heads() -> str:
    """The table of the search for the heads."""
    measured: dict[str, Any] = json.loads((PROJECT / "docs" / "experiments" / HEADS).read_text(encoding="utf-8"))
    names = {
        "within_fold": "dataset, AUC within a fold",
        "within_source": "dataset, AUC within a source",
        "hospital_left_out": "SIIM, hospital group left out",
        "worst_hospital": "worst hospital group",
    }
    lines = [f"| trial | {' | '.join(names.values())} |", "|---" + "|---:" * len(names) + "|"]
    for trial in measured["trials"]:
        lines.append(f"| {trial['name']} | {' | '.join(f'{trial[name]:.3f}' for name in names)} |")
    return "\n".join(lines)


def generated(document: Path, parts: dict[str, Callable[[], str]]) -> tuple[str, str]:
    """A document as it is, and with its generated parts made anew."""
    text = fresh = document.read_text(encoding="utf-8")
    for name, make in parts.items():
        pattern = rf"(<!-- generated: {name} -->\n)(?:.*?\n)??(<!-- end -->)"
        content = make()
        fresh, count = re.subn(
            pattern, lambda match, content=content: f"{match[1]}{content}\n{match[2]}", fresh, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"{document.name} must have one part marked `generated: {name}`. It has {count}.")
    return text, fresh


def main() -> int:
    """Rewrite or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the documents are up to date")
    options = parser.parse_args()
    outdated = 0
    for document, parts in (
        (README, {"results": results, "further": further, "serving": serving, "report": report, "dataset": dataset}),
        (INTAKE, {"reasons": reasons, "gate": gate, "intake": intake}),
        (EXPERIMENTS, {"experiments": experiments, "targets": targets, "heads": heads, "training": training}),
    ):
        text, fresh = generated(document, parts)
        if fresh == text:
            continue
        if options.check:
            print(f"{document.name} is out of date: run python benchmarks/readme.py")
            outdated += 1
        else:
            write_text(document, fresh)
    return int(outdated > 0)


if __name__ == "__main__":
    sys.exit(main())
