"""Uploaded films and what the session keeps of them.

A picture that is uploaded lives in its session alone: predictions and the film on show are in the session's state under the
upload's random id, are dropped with the upload, and are neither cached across sessions nor logged nor written.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.typing import UploadedFile

from covid_core.images.decode import decode
from covid_core.images.display import fitted
from covid_core.images.film import GreyImage
from covid_core.inference.prediction import FilmResult
from covid_core.inference.predictor import Predictor
from covid_core.inference.results import predict_bytes
from covid_core.ui.frame import table_height
from covid_core.ui.session import ON_SHOW, RESULTS

_CHOSEN, _RESULT_ROWS = "chosen_film", "result_rows"


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


def predict_uploads(uploads: Sequence[UploadedFile], predictor: Predictor) -> Iterator[list[FilmResult]]:
    """Predict what is uploaded and not predicted yet, film by film.

    Args:
        uploads: all that stands in the uploader.
        predictor: of the model in use.

    Yields:
        After each new film, and at the end, the results so far in the order of `uploads`.
    """
    version, kept = predictor.bundle.version, {upload.file_id for upload in uploads}
    former: dict[tuple[str, str], FilmResult] = st.session_state.get(RESULTS, {})
    results = {key: result for key, result in former.items() if key[0] in kept}
    st.session_state[RESULTS] = results
    for upload in uploads:
        key = (upload.file_id, version)
        if key not in results:
            results[key] = predict_bytes(predictor, upload.name, upload.getvalue())
            yield [results[one.file_id, version] for one in uploads if (one.file_id, version) in results]
    yield [results[one.file_id, version] for one in uploads]


def film_of(upload: UploadedFile) -> GreyImage:
    """The picture of an upload that was predicted, at the size it is shown in; the session keeps the last one."""
    on_show: tuple[str, GreyImage] | None = st.session_state.get(ON_SHOW)
    if on_show is None or on_show[0] != upload.file_id:
        on_show = (upload.file_id, fitted(decode(upload.getvalue())))
        st.session_state[ON_SHOW] = on_show
    return on_show[1]


def results_table(place: DeltaGenerator, rows: Sequence[Mapping[str, object]], **selection: Any) -> None:
    """Show the results of many films in a place where they may be shown anew; `selection` as of `st.dataframe`."""
    place.dataframe(pd.DataFrame(rows), height=table_height(len(rows), 5), **_RESULT_TABLE, **selection)


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
