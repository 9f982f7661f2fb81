"""What the pages of the app share: their frame, the choice of a model, cached loaders, what a session keeps of uploads.

The only room that imports streamlit. A picture that is uploaded lives in its session alone: predictions and the film on
show are in the session's state under the upload's random id, are dropped with the upload, and are neither cached across
sessions nor logged nor written.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitPageNotFoundError
from streamlit.typing import UploadedFile

from covid_core.data.metadata import read_metadata
from covid_core.errors import BundleError, CovidCoreError, DatasetError
from covid_core.evaluation.report import read_evaluation
from covid_core.evaluation.tables import interval
from covid_core.images.decode import GreyImage, decode
from covid_core.images.display import fitted
from covid_core.inference.bundle import KERNEL_STAGE, MANIFEST, Bundle, load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.inference.results import FilmResult, predict_bytes
from covid_core.locations import PROJECT, dataset_dir, model_names, models_dir
from covid_core.model_card import RESEARCH_ONLY, card_sections
from covid_core.storage import sha256_of_file

KEY_FIGURES = {
    "within_source_auc": "AUC within a source",
    "roc_auc": "ROC AUC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
"""Metric of an evaluation -> a title short enough for its card, which cuts off what does not fit."""
HISTORY_COLUMNS = ("stage", "epoch", "loss", "val_loss", "auc", "val_auc", "learning_rate")
TRAIN_COMMANDS = """\
python -m covid_core fetch
python -m covid_core prepare
python -m covid_core train
python -m covid_core finetune
python -m covid_core export --out models/mobilenetv2-finetuned"""
PAGES = (
    ("streamlit_app.py", "Overview", ":material/home:", "What this is and how to read a result."),
    ("pages/1_Predict.py", "Predict", ":material/radiology:", "Upload films and read the result of each."),
    ("pages/2_Dataset.py", "Dataset", ":material/table_chart:", "See the films the model learned from."),
    ("pages/3_Model_report.py", "Model report", ":material/analytics:", "See how often the model is right and wrong."),
)
"""File, title, icon and purpose of each page."""
FILM = "film"
"""Begins the key of a container whose picture is kept as low as the window allows."""
_SIDEBAR_WIDTH = 280
# Streamlit writes on charts in a grey too weak for a light page; and a film as wide as its column would run below the fold.
_STYLE = f"""<style>
[data-testid="stPlotlyChart"] .main-svg text:not(.hoverlayer text) {{ fill: currentColor !important; }}
@media (min-width: 640px) {{
  [class*="st-key-{FILM}-"] [data-testid="stImage"] img {{
    max-height: max(20rem, calc(100vh - 27.5rem));
    object-fit: contain;
    object-position: left top;
    border-radius: 0;
  }}
}}
</style>"""
_ICON = PROJECT / "docs" / "icon.png"
_RESULTS, _ON_SHOW, _CHOSEN, _RESULT_ROWS = "results", "film_on_show", "chosen_film", "result_rows"
_RESULT_TABLE: dict[str, Any] = {
    "hide_index": True,
    "placeholder": "",
    "column_config": {
        "Number": st.column_config.NumberColumn("#", width=36),
        "File": st.column_config.TextColumn(width=116),
        "Class": st.column_config.TextColumn(width=104),
        "P(COVID-19)": st.column_config.NumberColumn(format="%.3f", width=98),
        "Status": st.column_config.TextColumn(width=70),
        "Reason": st.column_config.TextColumn(width="large"),
    },
    "alt": "The result of each film",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$~:&])")


def page(title: str, purpose: str = "", *, keeps_uploads: bool = False) -> None:
    """Begin a page: its configuration, the way to the others, its title, and the line that never goes away.

    Args:
        title: of the page.
        purpose: a sentence on what the page is for, Markdown.
        keeps_uploads: whether the films uploaded before are still needed; any other page drops what is kept of them.
    """
    if not keeps_uploads:
        forget_uploads()
    st.set_page_config(
        page_title=f"{title} · COVID-19 X-ray reader",
        page_icon=str(_ICON),
        layout="wide",
        initial_sidebar_state=_SIDEBAR_WIDTH,
    )
    st.html(_STYLE)
    with st.sidebar:
        for path, label, icon, _ in PAGES:
            link(path, label, icon)
        st.space("small")
    with st.bottom:
        st.caption(f":material/science: **{RESEARCH_ONLY}**")
    st.title(title, anchor=False)
    if purpose:
        st.markdown(purpose)


def link(path: str, label: str, icon: str) -> None:
    """Link to another page."""
    # A page that is run by itself, as in a test, has no others beside it.
    with suppress(StreamlitPageNotFoundError):
        st.page_link(path, label=label, icon=icon, width="stretch")


def plain(text: str) -> str:
    """Escape a text so that Markdown shows it as it is."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def problem(error: CovidCoreError) -> None:
    """Show in place what is wrong and what to do about it."""
    st.error(plain(str(error)), icon=":material/error:")


def chart(figure: go.Figure, alt: str) -> None:
    """Show a figure that scrolls with the page instead of being dragged, and that says in `alt` what it is."""
    figure.update_layout(dragmode=False)
    st.plotly_chart(figure, config={"displayModeBar": False}, alt=alt)


def choose_bundle() -> Bundle | None:
    """Name the model in use in the sidebar, with a choice where there are several (kept in the address as `?model=`).

    Returns:
        The verified bundle; None, with the reason shown in place, where there is none that can be used.
    """
    names = model_names()
    if not names:
        st.warning(
            "No model is installed. Put a bundle into the folder `models`, or train one with these commands:",
            icon=":material/info:",
        )
        st.code(TRAIN_COMMANDS, language="shell", wrap_lines=True)
        return None
    with st.sidebar:
        name = st.selectbox("Model in use", names, key="model", bind="query-params", disabled=len(names) == 1)
    try:
        bundle = open_bundle(models_dir() / name)
    except CovidCoreError as error:
        problem(error)
        return None
    with st.sidebar:
        st.caption(f"Version {plain(bundle.version)}")
    return bundle


def open_bundle(folder: Path) -> Bundle:
    """Verify a bundle, once for each content of its manifest.

    Raises:
        BundleError: it is missing or is refused.
    """
    return _bundle(str(folder), _manifest_hash(folder))


def predictor_of(bundle: Bundle) -> Predictor | None:
    """The predictor of a bundle, shared by all sessions; None, with the reason shown in place, where it cannot be loaded."""
    try:
        return _predictor(str(bundle.folder), _manifest_hash(bundle.folder))
    except CovidCoreError as error:
        problem(error)
        return None


def evaluation_of(bundle: Bundle) -> dict[str, Any] | None:
    """The evaluation of a bundle; None, with the reason shown in place, where it cannot be read."""
    try:
        return read_evaluation(bundle.file("evaluation.json"))
    except CovidCoreError as error:
        problem(error)
        return None


def history_of(bundle: Bundle) -> pd.DataFrame | None:
    """The epochs of a bundle's training; None without any, or with the reason shown where they cannot be read."""
    if bundle.manifest.get("stage") == KERNEL_STAGE:
        return None
    try:
        history = pd.read_csv(bundle.file("history.csv"))
    except (OSError, ValueError):
        history = pd.DataFrame()
    if history.empty or not set(HISTORY_COLUMNS) <= set(history.columns):
        problem(BundleError("The training curves of this bundle cannot be read. Export it anew with `export`."))
        return None
    return history


def card_of(bundle: Bundle) -> dict[str, str]:
    """The model card of a bundle by section: title -> Markdown."""
    try:
        card = bundle.file("MODEL_CARD.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return card_sections(card)


def key_figures(evaluation: Mapping[str, Any]) -> None:
    """Show sensitivity, specificity and the areas under the curve side by side, each with its interval."""
    with st.grid(4, min_column_width=180):
        for name, title in KEY_FIGURES.items():
            metric = evaluation["metrics"][name]
            bounds = interval(metric)
            st.metric(
                title,
                None if metric["value"] is None else f"{metric['value']:.2f}",
                delta=f"95% CI {bounds}" if bounds else "no interval",
                delta_color="off",
                delta_arrow="off",
                border=True,
            )


def predict_uploads(uploads: Sequence[UploadedFile], predictor: Predictor) -> Iterator[list[FilmResult]]:
    """Predict what is uploaded and not predicted yet, film by film.

    Args:
        uploads: all that stands in the uploader.
        predictor: of the model in use.

    Yields:
        After each new film, and at the end, the results so far in the order of `uploads`.
    """
    version, kept = predictor.bundle.version, {upload.file_id for upload in uploads}
    former: dict[tuple[str, str], FilmResult] = st.session_state.get(_RESULTS, {})
    results = {key: result for key, result in former.items() if key[0] in kept}
    st.session_state[_RESULTS] = results
    for upload in uploads:
        key = (upload.file_id, version)
        if key not in results:
            results[key] = predict_bytes(predictor, upload.name, upload.getvalue())
            yield [results[one.file_id, version] for one in uploads if (one.file_id, version) in results]
    yield [results[one.file_id, version] for one in uploads]


def forget_uploads() -> None:
    """Drop what the session keeps of films that are no longer uploaded."""
    for key in (_RESULTS, _ON_SHOW):
        st.session_state.pop(key, None)


def film_of(upload: UploadedFile) -> GreyImage:
    """The picture of an upload that was predicted, at the size it is shown in; the session keeps the last one."""
    on_show: tuple[str, GreyImage] | None = st.session_state.get(_ON_SHOW)
    if on_show is None or on_show[0] != upload.file_id:
        on_show = (upload.file_id, fitted(decode(upload.getvalue())))
        st.session_state[_ON_SHOW] = on_show
    return on_show[1]


def results_table(place: DeltaGenerator, rows: Sequence[Mapping[str, object]], **selection: Any) -> None:
    """Show the results of many films in a place where they may be shown anew; `selection` as of `st.dataframe`."""
    place.dataframe(pd.DataFrame(rows), height=_table_height(len(rows), 5), **_RESULT_TABLE, **selection)


def choose_film(place: DeltaGenerator, rows: Sequence[Mapping[str, object]], uploads: Sequence[UploadedFile]) -> int:
    """Show the results of many films, and let the user choose one: in the table, or in a list below it.

    Args:
        place: of the table.
        rows: as `table_rows` lays them out.
        uploads: what they came from.

    Returns:
        The position of the chosen one in `uploads`.
    """
    positions = {upload.file_id: position for position, upload in enumerate(uploads)}

    def choose_row() -> None:
        selected = st.session_state[_RESULT_ROWS]["selection"]["rows"]
        if selected:
            st.session_state[_CHOSEN] = uploads[selected[0]].file_id

    results_table(place, rows, key=_RESULT_ROWS, on_select=choose_row, selection_mode="single-row")
    chosen = st.selectbox(
        "Show film",
        list(positions),
        format_func=lambda file_id: f"{positions[file_id] + 1}: {uploads[positions[file_id]].name}",
        key=_CHOSEN,
    )
    return positions[chosen]


def images_table(table: pd.DataFrame) -> None:
    """Show the rows of the collection, as `overview.shown_table` lays them out."""
    column = st.column_config
    narrow = {
        "patientid": "Patient",
        "view": "View",
        "modality": "Modality",
        "sex": "Sex",
        "date": "Date",
        "license": "Licence",
    }
    wider = {"filename": "File", "finding": "Finding", "location": "Place"}
    st.dataframe(
        table,
        hide_index=True,
        height=_table_height(len(table), 8),
        placeholder="",
        column_config={
            **{name: column.TextColumn(title, width="small") for name, title in narrow.items()},
            **{name: column.TextColumn(title, width="medium") for name, title in wider.items()},
            "label": column.TextColumn("Class", width=110),
            "age": column.NumberColumn("Age", format="%d", width="small"),
            "offset": column.NumberColumn("Day", format="%d", width="small", help="Days since onset or admission"),
            "url": column.LinkColumn("Source", width="medium"),
            "notes": column.TextColumn("Notes", width="large"),
        },
        alt="The images that meet the filters",
    )


def flow_table(steps: Sequence[Mapping[str, object]]) -> None:
    """Show the cohort's flow in images and patients, as `cohort.flow_to_json` gives it."""
    columns = {
        "reason": "Step",
        "excluded_images": "Images left out",
        "excluded_patients": "Patients left out",
        "images": "Images",
        "patients": "Patients",
    }
    static_table(pd.DataFrame(steps)[list(columns)].rename(columns=columns).astype(str))
    st.caption("A patient counts as left out with the last of his or her images.")


def static_table(table: pd.DataFrame) -> None:
    """Show a small table of texts whole, its first column naming the rows."""
    st.table(table.set_index(table.columns[0]))


def download(bundle: Bundle, name: str, mime: str) -> None:
    """Offer a file of a bundle, or say that it is missing."""
    path = bundle.file(name)
    if not path.is_file():
        st.caption(f"{plain(name)} is missing: export the bundle anew.")
        return
    st.download_button(
        name,
        path.read_bytes(),
        file_name=f"{bundle.name}-{name}",
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        key=f"download {name}",
    )


def choose_table() -> tuple[pd.DataFrame, Path | None] | None:
    """Take the installed dataset's table, or the one the user uploads in its place.

    Returns:
        The table, as `read_metadata` gives it, and the folder of its images if they are installed; None, with the reason
        shown in place, where there is no table or it cannot be read.
    """
    installed = dataset_dir()
    if installed is None:
        st.info(
            "No dataset is installed. Upload its `metadata.csv` to look at it, or install it: `python -m covid_core fetch`.",
            icon=":material/info:",
        )
    with st.expander("Look at another metadata.csv", expanded=installed is None, icon=":material/upload_file:"):
        upload = st.file_uploader("metadata.csv, of any version", type=["csv", "tsv", "txt"], key="table")
    try:
        if upload is not None:
            return _uploaded_table(upload.getvalue()), None
        if installed is not None:
            return _installed_table((installed / "metadata.csv").read_bytes()), installed / "images"
    except CovidCoreError as error:
        problem(error)
    except OSError as error:
        problem(DatasetError(f"The table of the installed dataset cannot be read: {error.strerror}."))
    return None


def _table_height(rows: int, most: int) -> int:
    """Pixels for a header and the rows, of which `most` are seen at once and a bit of the next."""
    return 38 + 35 * rows if rows <= most else 41 + 35 * most


@st.cache_resource(max_entries=8, show_spinner="Checking the model")
def _bundle(folder: str, manifest_hash: str) -> Bundle:  # noqa: ARG001  (part of the key)
    return load_bundle(Path(folder))


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _predictor(folder: str, manifest_hash: str) -> Predictor:
    return Predictor(_bundle(folder, manifest_hash))


# Keyed by the bytes themselves, which Streamlit hashes whole; of a large table it would hash a sample only.
@st.cache_data(max_entries=2, show_spinner="Reading the table")
def _installed_table(data: bytes) -> pd.DataFrame:
    return read_metadata(data)


@st.cache_data(max_entries=2, show_spinner="Reading the table", scope="session")
def _uploaded_table(data: bytes) -> pd.DataFrame:
    return read_metadata(data)


def _manifest_hash(folder: Path) -> str:
    try:
        return sha256_of_file(folder / MANIFEST)
    except OSError as cause:
        raise BundleError(f"There is no model bundle in {folder.name} any more: reload the page.") from cause
