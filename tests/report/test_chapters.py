import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from covid_core.cli.main import build_parser
from covid_core.evaluation.subgroups import subgroup_block
from covid_core.report.build import CHAPTERS, ReportOptions, build_report, chapter, default_options
from covid_core.report.csv_tables import csv_of
from covid_core.report.document import Chapter, Chart, Command, Item, Table, Words
from covid_core.report.html import report_html
from covid_core.report.record import Record
from covid_core.report.tables import not_measured
from tests.made_up_records import HOSTILE, MANIFEST, forty_images, record_of, scored

COVID = (forty_images()["label"] == "covid").to_numpy()
THIRD = np.arange(40) % 3 == 0
PARTLY_DESCRIBED = forty_images(
    sex=np.where(THIRD, None, np.where(np.arange(40) % 2 == 0, "F", "M")),
    age=np.where(THIRD, np.nan, 40.0 + np.arange(40)),
    view="PA",
    finding=None,
    rt_pcr=None,
    severity=np.nan,
)
SUBGROUPS = subgroup_block(PARTLY_DESCRIBED, part="test", threshold=0.5, prevalence=None, n_resamples=40, seed=0)
RECORDS = {
    "forty images": record_of,
    "COVID-19 alone": lambda: record_of(forty_images(label="covid")),
    "no COVID-19": lambda: record_of(forty_images(label="non_covid")),
    "all the same": lambda: record_of(scored(0.5)),
    "all certainly none": lambda: record_of(scored(0.0)),
    "all certainly covid": lambda: record_of(scored(1.0)),
    "two patients": lambda: record_of(forty_images(images_of_a_patient=20)),
    "one patient": lambda: record_of(forty_images(images_of_a_patient=40)),
    "perfect": lambda: record_of(scored(np.where(COVID, 0.9, 0.1))),
    "perfect and certain": lambda: record_of(scored(np.where(COVID, 1.0, 0.0))),
    "always wrong": lambda: record_of(scored(np.where(COVID, 0.1, 0.9))),
    "hostile names": lambda: record_of(forty_images(source=HOSTILE), name=HOSTILE),
    "no source": lambda: record_of(forty_images(source=None)),
    "no age and sex": lambda: record_of(PARTLY_DESCRIBED, subgroups=SUBGROUPS),
    "one image": lambda: record_of(forty_images().head(1)),
    "no recipe": lambda: record_of(manifest={"threshold": MANIFEST["threshold"]}),
}
# Python's and NumPy's words for nothing; `none` is English.
NOTHING = re.compile(r"\b(nan|NaN|None|inf|Infinity|NaT)\b|<NA>")


def texts_in(value: Any) -> Iterator[str]:
    """Every text in the content of a figure, its keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)


def figure_of(chart: Chart) -> dict[str, Any]:
    """The chart as a browser gets it; NaN and infinity are no JSON."""

    def refused(constant: str) -> None:
        pytest.fail(f"{chart.name} has {constant}")

    found = json.loads(chart.figure.to_json(), parse_constant=refused)
    return {"data": found["data"], "layout": {key: of for key, of in found["layout"].items() if key != "template"}}


def texts_of(item: Item) -> list[str]:
    match item:
        case Words() | Command():
            return [item.text]
        case Table():
            cells = [cell for row in item.table.itertuples(index=False) for cell in row]
            assert all(isinstance(cell, str) for cell in cells), item.name
            assert cells, item.name
            return [item.title, item.note, *item.table.columns, *cells]
        case Chart():
            return [item.title, item.note, item.alt, *texts_in(figure_of(item))]


def made(name: str, record: Record, others: tuple[Record, ...] = ()) -> Chapter:
    return chapter(name, default_options(record, others))


def words_of(found: Chapter, tone: str | None = None) -> str:
    return " ".join(item.text for item in found.items if isinstance(item, Words) and tone in {None, item.tone})


def table_named(found: Chapter, name: str) -> pd.DataFrame:
    return next(table.table for table in found.tables() if table.name == name)


def metric(value: float | None, lower: float | None = None, upper: float | None = None) -> dict[str, Any]:
    note = "There is one class." if value is None else None
    return {
        "value": value,
        "lower": lower,
        "upper": upper,
        "method": "patient bootstrap",
        "n": 40,
        "undefined": 0,
        "note": note,
    }


@pytest.mark.parametrize("who", RECORDS)
def test_every_chapter_of_any_model_has_something_to_say_and_no_hole_in_it(who: str) -> None:
    record = RECORDS[who]()
    for asked in (default_options(record, (record_of(name="other"),)), ReportOptions(record, (), 0.3, 0.01)):
        for name, title in CHAPTERS.items():
            found = chapter(name, asked)
            assert (found.name, found.title) == (name, title)
            assert found.items
            for item in found.items:
                for text in texts_of(item):
                    assert not NOTHING.search(text), (name, text)


@pytest.mark.parametrize("who", ["COVID-19 alone", "no COVID-19", "one image"])
@pytest.mark.parametrize("name", ["discrimination", "calibration", "in-your-clinic"])
def test_with_one_class_a_caution_says_what_is_not_defined_and_what_to_do(who: str, name: str) -> None:
    said = words_of(made(name, RECORDS[who]()), "caution")
    only = "Not COVID-19" if who == "no COVID-19" else "COVID-19"
    assert f"are only {only}. Evaluate it on images of both classes." in said


@pytest.mark.parametrize("who", RECORDS)
def test_a_report_can_be_laid_out_so_its_names_are_good_and_stand_once(who: str) -> None:
    record = RECORDS[who]()
    names = ("a b", "a-b", "A_B", "a-b-2", "модель", "胸部", "-", "ends-")
    report = build_report(default_options(record, tuple(record_of(record.predictions, name=name) for name in names)))
    items = [item for one in report.chapters for item in one.items]
    for kind in (Table, Chart):
        names = [item.name for item in items if isinstance(item, kind)]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    compared = [item for item in items if isinstance(item, Table) and item.name.startswith("compared-with")]
    both_classes = record.evaluation["metrics"]["roc_auc"]["value"] is not None
    assert len(compared) == (8 if both_classes else 0)
    report_html(report)


def test_text_from_data_stays_text_in_the_file_and_is_no_formula_in_a_spreadsheet() -> None:
    source = "=HYPERLINK(1)<script>alert(1)</script>"
    record = record_of(forty_images(source=source))
    file = report_html(build_report(default_options(record)))
    assert "<script>alert(1)" not in file
    assert "=HYPERLINK(1)&lt;script&gt;" in file
    lines = csv_of(table_named(made("shortcuts", record), "sources")).splitlines()
    assert lines[1].startswith("'=HYPERLINK")


@pytest.mark.parametrize("model", ["own", "my model", "it's"])
def test_what_is_missing_names_a_command_that_the_parser_takes(model: str) -> None:
    parser = build_parser()
    chapters = [made(name, record_of(name=model)) for name in CHAPTERS]
    commands = {item.text for one in chapters for item in one.items if isinstance(item, Command)}
    verbs = set()
    for command in commands:
        program, arguments = shlex.split(command)[:3], shlex.split(command)[3:]
        assert program == ["python", "-m", "covid_core"]
        options = parser.parse_args(arguments)
        verbs.add(arguments[0])
        if arguments[0] == "build":  # it must not take the place of the model that it is missing from
            assert options.out.parts == ("models", f"{model}-built")
        else:
            assert options.model == model
    assert verbs == {"build", "evaluate", "gate"}


@pytest.mark.parametrize(
    "block",
    [
        *("baselines", "lungs", "left_out_sources", "seeds", "original_protocol", "three_way", "ensemble", "external"),
        *("gate", "subgroups", "cohort"),
    ],
)
def test_each_block_that_is_missing_is_a_caution_above_its_command(block: str) -> None:
    said, command = not_measured(block, "own")
    assert isinstance(said, Words)
    assert said.tone == "caution"
    assert "was not measured for this model" in said.text
    assert isinstance(command, Command)
    everywhere = [item for name in CHAPTERS for item in made(name, record_of()).items]
    assert everywhere.count(said) == 1
    assert everywhere[everywhere.index(said) + 1] == command


def against_a_baseline(own: float, rival: float | None, within: float | None = None) -> Record:
    record = record_of(baselines={"view": {"roc_auc": metric(rival), "within_source_auc": metric(within)}})
    areas = {"roc_auc": metric(own, own - 0.1, own + 0.1), "within_source_auc": metric(own, own - 0.1, own + 0.1)}
    return Record(
        **{**vars(record), "evaluation": {**record.evaluation, "metrics": {**record.evaluation["metrics"], **areas}}}
    )


def test_a_baseline_that_wins_is_a_caution() -> None:
    said = words_of(made("shortcuts", against_a_baseline(0.7, 0.81)), "caution")
    assert "On all images the best baseline that sees no pixel, only view, scores no lower than the model" in said
    assert "0.81" in said
    assert "0.70" in said


def test_a_model_may_win_on_all_images_and_lose_within_a_source() -> None:
    found = made("shortcuts", against_a_baseline(0.9, 0.6, within=0.95))
    assert words_of(found, "plain").startswith(
        "On all images the best baseline that sees no pixel, only view, scores lower"
    )
    assert "Among images of one source the best baseline" in words_of(found, "caution")


def with_lungs(alone: dict[str, Any], without: dict[str, Any]) -> Record:
    both = {
        name: {"roc_auc": figure, "within_source_auc": figure}
        for name, figure in (("whole", metric(0.8, 0.7, 0.9)), ("lungs_only", alone), ("lungs_out", without))
    }
    return record_of(lungs={"films": 40, "patients": 20, "n_covid": 20, "n_non_covid": 20, **both})


@pytest.mark.parametrize(
    ("alone", "without", "plain", "caution"),
    [
        ((0.75, 0.65, 0.85), (0.5, 0.4, 0.6), ["which is above chance", "no better than chance"], []),
        ((0.75, 0.65, 0.85), (0.6, 0.51, 0.7), ["which is above chance"], ["does not come from the lungs"]),
        ((0.55, 0.45, 0.65), (0.5, 0.4, 0.6), ["no better than chance"], ["which cannot be distinguished from chance"]),
        ((0.3, 0.2, 0.4), (0.3, 0.2, 0.4), ["no better than chance"], ["which is below chance"]),
    ],
)
def test_what_is_left_of_the_lungs_is_told_beside_chance(
    alone: tuple[float, ...], without: tuple[float, ...], plain: list[str], caution: list[str]
) -> None:
    found = made("shortcuts", with_lungs(metric(*alone), metric(*without)))
    for tone, expected in (("plain", plain), ("caution", caution)):
        said = words_of(found, tone)
        assert all(words in said for words in expected)
        assert sum(words in said for words in ("above chance:", "better than chance:", "With the lungs alone")) == len(
            expected
        )


def group(grouping: str, name: str, value: float | None, *, few: bool = False) -> dict[str, Any]:
    figure = metric(value) if value is None else metric(value, value - 0.1, value + 0.1)
    counts = {"films": 40, "patients": 20, "covid": 20, "non_covid": 20, "few": few}
    figures = dict.fromkeys(("sensitivity", "specificity", "balanced_accuracy", "roc_auc"), figure)
    return {"group": grouping, "name": name, **counts, **figures}


def test_the_forest_keeps_groups_together_the_one_with_the_worst_of_all_first() -> None:
    groups = [
        group("Sex", "female", 0.8),
        group("Sex", "male", 0.6),
        group("Age", "under 40", 0.7),
        group("Age", "40 to 59", 0.5),
        group("View", "PA", None),
    ]
    found = made("subgroups", record_of(subgroups=groups))
    (chart,) = found.charts()
    labels = [re.sub(r"</?b>", "", label).strip() for label in figure_of(chart)["layout"]["yaxis"]["ticktext"]]
    assert labels == ["Age", "40 to 59", "under 40", "Sex", "male", "female", "View", "PA"]
    ranked = table_named(found, "subgroups-table")
    assert ranked["Group"].tolist() == [
        "Age: 40 to 59",
        "Sex: male",
        "Age: under 40",
        "Sex: female",
        "View: PA",
    ]
    assert ranked["Balanced accuracy"].tolist()[-1] == "not defined"


def test_the_worst_and_the_best_group_are_named_and_small_ones_are_not() -> None:
    groups = [
        group("Sex", "female", 0.8),
        group("Sex", "male", 0.6),
        group("Age", "80 and over", 0.1, few=True),
        group("View", "AP", None),
    ]
    said = words_of(made("subgroups", record_of(subgroups=groups)))
    assert "lowest for sex male, 0.60" in said
    assert "highest for sex female, 0.80" in said
    assert "80 and over" not in said


def test_images_of_which_nothing_is_known_have_no_groups_and_no_command_to_repeat() -> None:
    found = made("subgroups", record_of(subgroups=[]))
    assert [type(item) for item in found.items] == [Words]
    assert words_of(found, "caution").startswith("Nothing is known of those on the images")


def test_the_errors_are_counted_and_listed_and_a_perfect_model_has_none() -> None:
    probability = np.where(COVID, 0.9, 0.1)
    probability[[0, 1, 2]] = [0.2, 0.4, 0.7]  # images 0 and 1 have COVID-19, image 2 has not
    found = made("failures", record_of(scored(probability)))
    assert words_of(found) == "Missed images with COVID-19: 2. False alarms: 1. Images in all: 40."
    listed = table_named(found, "errors")
    # Confidence by hand: (0.5 - 0.2) / 0.5, (0.7 - 0.5) / 0.5, (0.5 - 0.4) / 0.5.
    assert listed[["File", "Confidence"]].to_numpy().tolist() == [
        ["film00.png", "60%"],
        ["film02.png", "40%"],
        ["film01.png", "20%"],
    ]
    perfect = made("failures", RECORDS["perfect"]())
    assert words_of(perfect) == "No image of this evaluation is called wrongly."


def test_the_recipe_leaves_out_what_was_not_set() -> None:
    found = made("training", record_of())
    assert table_named(found, "recipe")[""].tolist() == [
        "Architecture",
        "Starting weights",
        "Where they come from",
        "Time",
    ]
    recipe = table_named(found, "recipe-in-full").set_index("Setting")["Value"].to_dict()
    assert recipe["recipe.layers"] == "3, 5"
    assert recipe["recipe.backbone"] == "tiny"
    assert not {"recipe.resumed", "commit", "starting_weights.sha256"} & set(recipe)


def cohort(patients: int, duplicates: int | None) -> dict[str, Any]:
    parts = [{"name": "test", "images": 40, "patients": 20, "covid": 20, "non_covid": 20}]
    distributions = {"label": {"covid": {"test": 20}, "non_covid": {"test": 20}}}
    overlap = {"patients": patients, "duplicates": duplicates}
    return {"flow": [], "parts": parts, "overlap": overlap, "distributions": distributions, "note": None}


@pytest.mark.parametrize(("patients", "duplicates"), [(1, 0), (0, 1), (2, None)])
def test_what_stands_in_two_parts_is_a_caution(patients: int, duplicates: int | None) -> None:
    said = words_of(made("cohort", record_of(cohort=cohort(patients, duplicates))), "caution")
    assert f"Patients in more than one part: {patients}." in said
    assert "too good" in said


@pytest.mark.parametrize("duplicates", [0, None])
def test_parts_that_share_nothing_are_said_plainly(duplicates: int | None) -> None:
    found = made("cohort", record_of(cohort=cohort(0, duplicates)))
    assert words_of(found, "caution") == ""
    known = "not known" if duplicates is None else "0"
    assert f"Duplicate images in more than one part: {known}." in words_of(found, "plain")
    assert not any(NOTHING.search(text) for item in found.items for text in texts_of(item))


def test_at_another_threshold_the_calls_move_and_that_is_said() -> None:
    asked = ReportOptions(record_of(scored(np.where(COVID, 0.6, 0.4))), (), 0.7, 0.5)
    found = chapter("operating-point", asked)
    assert words_of(found).startswith("At a threshold of 0.700. The model itself calls from 0.500 on")
    assert table_named(found, "confusion-matrix-table").iloc[1].tolist() == ["COVID-19", "20 (100%)", "0 (0%)", "20"]


def test_models_that_share_no_image_are_said_to_be_beyond_comparison() -> None:
    other = record_of(forty_images(filename=[f"far{number}.png" for number in range(40)]), name="far")
    assert "own and far cannot be compared" in words_of(made("discrimination", record_of(), (other,)), "remark")
