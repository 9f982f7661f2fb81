"""Write the README's figures from the files that hold them: the bundles' evaluation.json and benchmarks/serving.json.

python benchmarks/readme.py           rewrites the parts of README.md between the generated marks
python benchmarks/readme.py --check   exit code 1 if they are not up to date (a test calls this)
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from covid_core.errors import BundleError  # noqa: E402
from covid_core.evaluation.report import read_evaluation  # noqa: E402
from covid_core.evaluation.summary import described  # noqa: E402
from covid_core.evaluation.tables import MEANINGS  # noqa: E402
from covid_core.storage import read_json, write_text  # noqa: E402

README = PROJECT / "README.md"
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


def generated(text: str) -> str:
    """The README with its generated parts made anew."""
    for name, content in (("results", results()), ("serving", serving())):
        pattern = rf"(<!-- generated: {name} -->\n)(?:.*?\n)??(<!-- end -->)"
        text, count = re.subn(
            pattern, lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"README.md must have one part marked `generated: {name}`. It has {count}.")
    return text


def main() -> int:
    """Rewrite or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the README is up to date")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    fresh = generated(text)
    if options.check:
        print(
            "README.md is up to date" if fresh == text else "README.md is out of date: run python benchmarks/readme.py"
        )
        return int(fresh != text)
    write_text(README, fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
