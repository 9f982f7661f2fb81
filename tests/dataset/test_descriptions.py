from pathlib import Path

import pandas as pd
import pytest

from covid_core.dataset.descriptions import DESCRIPTION_COLUMNS, described
from covid_core.errors import DatasetError

TABLE = """patientid,sex,age,finding,RT_PCR_positive,view,modality,filename,url
1,F,64,Pneumonia/Viral/COVID-19,Y,PA,X-ray,a.png,https://example.org/1
2,M,,Pneumonia,Unclear,AP,X-ray,b.png,http://example.org/2
3,,31,No Finding,,AP Supine,X-ray,c.png,javascript:alert(1)
3,M,99,Pneumonia,Y,PA,X-ray,a.png,https://example.org/second
4,M,50,Tuberculosis,n,PA,X-ray,d.png,ftp://example.org/4
5,M,50,Tuberculosis,intubated,PA,X-ray,e.png,https:// example.org
6,M,50,Tuberculosis,Y,PA,X-ray,,https://example.org/6
"""
SCORES = """## Severity (Mean of 3 expert raters),,
## geographic_extent_mean: The total extent score ranged from 0 to 8.,,
filename,geographic_mean,opacity_mean
c.png,2.7,2.0
a.png,8.0,4.0
a.png,1.0,1.0
b.png,,3.0
elsewhere.png,0.0,0.0
"""


def collection(folder: Path, scores: str | bytes | None = None, table: str = TABLE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "metadata.csv").write_text(table)
    if scores is not None:
        (folder / "annotations").mkdir(exist_ok=True)
        data = scores.encode() if isinstance(scores, str) else scores
        (folder / "annotations" / "covid-severity-scores.csv").write_bytes(data)
    return folder


def values(column: pd.Series) -> list[object]:
    """The values of a column, None for NA."""
    return [None if pd.isna(value) else value for value in column]


def test_each_image_gets_what_the_table_says_in_the_order_asked_for(tmp_path: Path) -> None:
    names = ["c.png", "a.png", "not there.png", "b.png", "a.png", "d.png", "e.png"]
    found = described(names, collection(tmp_path, SCORES))
    covid = "Pneumonia/Viral/COVID-19"
    expected = {
        "finding": ["No Finding", covid, None, "Pneumonia", covid, "Tuberculosis", "Tuberculosis"],
        "view": ["AP Supine", "PA", None, "AP", "PA", "PA", "PA"],
        "sex": [None, "F", None, "M", "F", "M", "M"],
        "age": [31, 64, None, None, 64, 50, 50],
        "rt_pcr": [None, "Y", None, None, "Y", "N", None],
        "severity": [2.7, 8.0, None, None, 8.0, None, None],
        "url": [None, "https://example.org/1", None, "http://example.org/2", "https://example.org/1", None, None],
    }
    assert tuple(found.columns) == tuple(expected) == DESCRIPTION_COLUMNS
    assert {name: values(found[name]) for name in found} == expected
    assert list(found.index) == list(range(7))
    nothing = described([], tmp_path)
    assert (tuple(nothing.columns), len(nothing)) == (DESCRIPTION_COLUMNS, 0)


def test_what_the_collection_lacks_is_left_blank(tmp_path: Path) -> None:
    table = "patientid,finding,view,modality,filename\n1,Pneumonia,PA,X-ray,a.png\n"
    found = described(["a.png"], collection(tmp_path, table=table))
    assert values(found.iloc[0]) == ["Pneumonia", "PA", None, None, None, None, None]
    assert found["severity"].dtype == "float64"


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ("filename,geographic_mean\na.png,nine\n", r"extent of a\.png must be a number from 0 to 8.*'nine'"),
        ("filename,geographic_mean\na.png,8.5\n", r"from 0 to 8.*'8\.5'"),
        ("filename,geographic_mean\na.png,nan\n", r"from 0 to 8.*'nan'"),
        ("name,score\na.png,3\n", r"lacks the columns filename and geographic_mean.*name, score"),
        ("## only a comment\n", r"an empty file"),
        (b"\xff\xfe\x00filename", r"cannot be read as text"),
    ],
)
def test_a_broken_severity_file_is_refused_with_a_sentence(tmp_path: Path, scores: str | bytes, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        described(["a.png"], collection(tmp_path, scores))


def test_the_real_collection_is_described_as_pandas_reads_it(real_dataset: Path) -> None:
    table = pd.read_csv(real_dataset / "metadata.csv")
    found = described(table["filename"].tolist(), real_dataset)

    assert values(found["age"]) == values(table["age"])
    assert (found["rt_pcr"] == "Y").sum() == (table["RT_PCR_positive"] == "Y").sum()
    assert set(found["rt_pcr"].dropna()) == {"Y"}
    assert values(found["sex"]) == values(table["sex"])
    scores_path = real_dataset / "annotations" / "covid-severity-scores.csv"
    if scores_path.is_file():
        scores = pd.read_csv(scores_path, skiprows=5).set_index("filename")["geographic_mean"]
        expected = table["filename"].map(scores)
        assert values(found["severity"]) == values(expected)
        assert found["severity"].notna().sum() == table["filename"].isin(scores.index).sum() > 90
