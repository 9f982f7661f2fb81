"""Write the figures of README.md and docs/EXPERIMENTS.md from the files that hold them.

These are the bundles' evaluation.json, benchmarks/serving.json and docs/experiments/*.json (cross-validations, as `crossval`
writes them to its --out as evaluation.json).

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

from covid_core.errors import BundleError, EvaluationError  # noqa: E402
from covid_core.evaluation.report import read_evaluation  # noqa: E402
from covid_core.evaluation.summary import described  # noqa: E402
from covid_core.evaluation.tables import MEANINGS  # noqa: E402
from covid_core.storage import read_json, write_text  # noqa: E402

README = PROJECT / "README.md"
EXPERIMENTS = PROJECT / "docs" / "EXPERIMENTS.md"
MODELS = ("mobilenetv2", "mobilenetv2-finetuned")
METRICS = ("roc_auc", "within_source_auc", "sensitivity", "specificity", "balanced_accuracy")


def results() -> str:
    """The table of test results, one row a model."""
    head = f"| model | films (patients) | {' | '.join(MEANINGS[name][0] for name in METRICS)} | LiteRT against Keras |"
    lines = [head, "|---" * (len(METRICS) + 3) + "|"]
    for name in MODELS:
        evaluation = read_evaluation(PROJECT / "models" / name / "evaluation.json")
        parity = read_json(PROJECT / "models" / name / "bundle.json", BundleError)["parity"]
        counts = evaluation["counts"]
        cells = [described(evaluation["metrics"][metric]) for metric in METRICS]
        lines.append(
            f"| `{name}` | {counts['images']} ({counts['patients']}) | {' | '.join(cells)} "
            f"| {parity['max_abs_difference']:.0e} |"
        )
    stages = read_json(PROJECT / "models" / MODELS[-1] / "bundle.json", BundleError)["training"]["stages"]
    minutes = sum(stage["seconds"] for stage in stages.values()) / 60
    lines += ["", f"Both stages of the training took {minutes:.0f} minutes on two cores."]
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


def experiments() -> str:
    """The table of cross-validations, each followed by what its folds give without a pixel."""
    lines = ["| recipe or baseline | films (patients) | ROC AUC | within a source |", "|---|---|---|---|"]
    for path in sorted((PROJECT / "docs" / "experiments").glob("*.json")):
        evaluation = read_json(path, EvaluationError)
        counts = evaluation["counts"]
        films = f"{counts['images']} ({counts['patients']})"
        lines.append(f"| **{path.stem}** | {films} | {_aucs(evaluation['metrics'])} |")
        lines += [
            f"| {name}, no pixels | {films} | {_aucs(found)} |" for name, found in evaluation["baselines"].items()
        ]
    return "\n".join(lines)


def _aucs(metrics: dict[str, Any]) -> str:
    names = ("roc_auc", "within_source_auc")
    return " | ".join(described(metrics[name]) if name in metrics else "-" for name in names)


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
        (README, {"results": results, "crossval": experiments, "serving": serving}),
        (EXPERIMENTS, {"experiments": experiments}),
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
