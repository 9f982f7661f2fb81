"""The subcommands about data: fetch, prepare, audit."""

import argparse
import sys
from pathlib import Path

from covid_core.cli import common
from covid_core.paths import NO_LISTING, dataset_dir, dataset_listing, dataset_url, fetched_dir


def add_to(subcommands: common.Subcommands) -> None:
    """Add these subcommands."""
    _add_fetch(subcommands)
    _add_prepare(subcommands)
    _add_audit(subcommands)


def _add_fetch(subcommands: common.Subcommands) -> None:
    summary = "download the COVID-19 Image Data Collection; skips complete files"
    parser = subcommands.add("fetch", _fetch, summary, common.GOES_ON)
    parser.add_argument(
        "--out", type=Path, default=fetched_dir(), help="folder to fill; by default one that the app looks in"
    )
    parser.add_argument("--metadata-only", action="store_true", help="only metadata.csv, under 1 MB")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="also compare the checksums of files that are here, and download those that differ",
    )
    parser.add_argument("--url", default=dataset_url(), help="where metadata.csv and images/ are")
    parser.add_argument(
        "--listing",
        metavar=f"URL|{NO_LISTING}",
        help="git tree of GitHub's REST API to compare the files with; if not given, that of the public address",
    )


def _fetch(options: argparse.Namespace) -> int:
    from covid_core.dataset.download import fetch_dataset

    with common.progress("fetching", "file") as moved:
        report = fetch_dataset(
            options.out,
            base_url=options.url,
            listing_url=dataset_listing(options.url, options.listing),
            metadata_only=options.metadata_only,
            verify=options.verify,
            progress=moved,
        )
    print(f"{options.out}: {report.sentences()[0]}", *report.sentences()[1:], sep="\n")
    return 0


def _add_prepare(subcommands: common.Subcommands) -> None:
    summary = "choose the cohort, find duplicates, split by patient, lay out folders"
    parser = subcommands.add("prepare", _prepare, summary)
    _add_images(parser, "--dataset")
    parser.add_argument("--out", type=Path, default="dataset", help="folder for split/, split.csv and flow.json")
    parser.add_argument(
        "--ambiguous",
        choices=("drop", "non_covid", "covid"),
        default="drop",
        help="No Finding images of patients with COVID-19",
    )
    parser.add_argument("--no-supine", action="store_true", help="never add AP Supine views")
    parser.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        default=(0.7, 0.15, 0.15),
        help="must add up to 1",
    )
    common.add_seed(parser, "of the split")


def _prepare(options: argparse.Namespace) -> int:
    from covid_core.dataset.cohort import CohortRules
    from covid_core.dataset.prepare import prepare_dataset, summary_lines

    with common.progress("reading images, then comparing them", "image") as moved:
        prepared = prepare_dataset(
            options.dataset,
            options.out,
            rules=CohortRules(ambiguous=options.ambiguous, include_supine=not options.no_supine),
            fractions=tuple(options.fractions),
            seed=options.seed,
            progress=moved,
            comparing=moved,
        )
    print(summary_lines(prepared))
    return 0


def _add_audit(subcommands: common.Subcommands) -> None:
    summary = "look for what is wrong or misleading in a collection; exit code 1 if it is too grave"
    parser = subcommands.add("audit", _audit, summary)
    _add_images(parser, "--collection")
    parser.add_argument(
        "--table-only",
        action="store_true",
        help="the table alone; without it a collection without images is an error",
    )
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "notice", "never"),
        default="error",
        help="exit code 1 from this severity on",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, with all rows")
    parser.add_argument(
        "--no-cache", action="store_true", help="read every file again, and keep nothing of it for the next time"
    )


def _audit(options: argparse.Namespace) -> int:
    from covid_core.audit.render import audit_json, summary_lines
    from covid_core.audit.run import audit_dataset
    from covid_core.dataset.duplicates import fingerprint_files
    from covid_core.dataset.image_cache import CACHE_NAME, ImageCache
    from covid_core.paths import cache_dir

    with common.progress("auditing", "image") as moved:
        audit = audit_dataset(
            options.collection,
            table_only=options.table_only,
            progress=moved,
            comparing=moved,
            fingerprints=fingerprint_files if options.no_cache else ImageCache(cache_dir() / CACHE_NAME).fingerprints,
        )
    print(audit_json(audit) if options.json else summary_lines(audit))
    grave = () if options.fail_on == "never" else audit.at_least(options.fail_on)
    if grave:
        print(f"error: {len(grave)} findings at or above `{options.fail_on}`, see the output", file=sys.stderr)
    return 1 if grave else 0


def _add_images(parser: argparse.ArgumentParser, option: str) -> None:
    default = dataset_dir() or fetched_dir()
    parser.add_argument(option, type=Path, default=default, help="folder with metadata.csv and images/")
