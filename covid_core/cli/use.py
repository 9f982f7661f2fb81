"""The subcommands that use a model: predict, report."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from covid_core.cli import common
from covid_core.errors import Refusal
from covid_core.images.orientation import REPAIR_TITLES

if TYPE_CHECKING:
    from covid_core.inference.bundle import Bundle
    from covid_core.inference.prediction import Reading


def add_to(subcommands: common.Subcommands) -> None:
    """Add these subcommands."""
    _add_predict(subcommands)
    _add_report(subcommands)


def _add_predict(subcommands: common.Subcommands) -> None:
    summary = "classify images (PNG, JPEG or DICOM, or ZIP files of them); exit code 1 if any is refused"
    parser = subcommands.add("predict", _predict, summary)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image, or ZIP file of images")
    common.add_model(parser)
    parser.add_argument(
        "--repair",
        choices=tuple(REPAIR_TITLES),
        action="append",
        default=[],
        help="put the images right first; give it again for another repair",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="predict what the gate refuses as no frontal chest X-ray; marked in the output",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line; a refused image has one, too")


def _predict(options: argparse.Namespace) -> int:
    from covid_core.inference.batch import given_path, read_all
    from covid_core.inference.bundle import load_bundle
    from covid_core.inference.predictor import Predictor

    bundle = load_bundle(common.bundle_folder(options.model))
    with common.native_messages_hidden():
        predictor = Predictor(bundle)
    given = [
        replace(image, repairs=tuple(options.repair), anyway=options.anyway)
        for path in options.images
        for image in given_path(path)
    ]
    refused = 0
    with common.progress("predicting", "image", shown=len(given) > 1) as moved:
        for index, reading in enumerate(read_all(predictor, given), start=1):
            moved(index, len(given))
            refused += isinstance(reading.outcome, Refusal)
            if options.json:
                print(_as_json(reading, bundle), flush=True)
            else:
                heading = f"{reading.file}\n" if len(given) > 1 else ""
                print(heading + _as_text(reading, bundle), flush=True)
    if refused:
        print(f"error: {refused} of {len(given)} refused, the reasons are in the output", file=sys.stderr)
    return 1 if refused else 0


def _as_text(reading: "Reading", bundle: "Bundle") -> str:
    from covid_core.evaluation.conformal import INDETERMINATE
    from covid_core.inference.wording import PATTERN_TITLES, cautions, indeterminate_range

    outcome = reading.outcome
    if isinstance(outcome, Refusal):
        return f"Refused:\n  {outcome}"
    lines = ["Result:", f"  Class      : {outcome.label}", f"  Confidence : {outcome.confidence:.1%}"]
    if bundle.three_way is not None and outcome.decision == INDETERMINATE:
        lines.append(f"  Decision   : {INDETERMINATE} ({indeterminate_range(bundle.three_way)})")
    if outcome.spread is not None:
        low, high = outcome.spread
        lines.append(f"  Ensemble   : P(covid) {low:.2f} to {high:.2f}, the model's {outcome.probability_covid:.2f}")
    if outcome.pattern is not None:
        lines.append(f"  Leans to   : {PATTERN_TITLES[outcome.pattern]}")
    if outcome.affected is not None:
        lines.append(f"  Opacities  : in {outcome.affected:.0%} of the lungs")
    if reading.repairs:
        lines.append(f"  Repaired   : {', '.join(reading.repairs)}")
    return "\n".join([*lines, *(f"  Caution    : {caution}" for caution in cautions(reading))])


def _as_json(reading: "Reading", bundle: "Bundle") -> str:
    """The record of the exports as one line, its class under `label`, without what it has not."""
    from covid_core.inference.results import result_record

    record = result_record(reading, bundle)
    record["label"] = record.pop("class")
    return json.dumps({name: value for name, value in record.items() if value not in (None, [])})


def _add_report(subcommands: common.Subcommands) -> None:
    parser = subcommands.add("report", _report, "write the report of a model as one HTML file")
    common.add_model(parser)
    parser.add_argument("--out", type=Path, help="HTML file to write; NAME-report.html in this folder by default")
    parser.add_argument(
        "--compare", nargs="*", metavar="MODEL", help="models to compare with; all others by default, none for none"
    )
    parser.add_argument("--threshold", type=_share, help="call COVID-19 from here on; the model's own by default")
    parser.add_argument(
        "--prevalence",
        type=_share,
        help="share of COVID-19 among those who are read; by default that of the images judged",
    )
    common.add_collection(parser, "to describe the images that are called wrongly")


def _share(text: str) -> float:
    """The type of an option that is a share, more than 0 and less than 1; anything else is bad usage."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1. Received: {text!r}")
    return value


def _report(options: argparse.Namespace) -> int:
    from covid_core.inference.bundle import load_bundle
    from covid_core.report.build import ReportOptions, build_report, default_options
    from covid_core.report.html import write_report
    from covid_core.report.record import read_others, read_record

    bundle = load_bundle(common.bundle_folder(options.model))
    record = read_record(bundle, options.collection)
    if options.compare is None:
        others, unread = read_others(bundle.name)
        for error in unread.values():
            print(f"not compared: {error}", file=sys.stderr)
    else:
        others = tuple(read_record(load_bundle(common.bundle_folder(name))) for name in options.compare)
    default = default_options(record, others)
    chosen = ReportOptions(
        record, others, options.threshold or default.threshold, options.prevalence or default.prevalence
    )
    out = options.out or Path(f"{bundle.name}-report.html")
    write_report(build_report(chosen), out)
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0
