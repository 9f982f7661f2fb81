"""Run by `test_serving_environment.py` with a Python that has only requirements.txt: every page and the command line.

Not a test module: pytest is not installed there.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from streamlit.testing.v1 import AppTest  # noqa: E402

from tests.phantom import phantom_image  # noqa: E402


def main(folder: Path) -> None:
    """Check, and leave with an AssertionError at the first thing that does not hold."""
    for package in ("tensorflow", "keras", "pytest"):
        assert importlib.util.find_spec(package) is None, f"{package} is installed here"
    image = folder / "film.png"
    Image.fromarray(phantom_image(np.random.default_rng(0), "covid", 512)).save(image)
    done = subprocess.run(
        [sys.executable, "-m", "covid_core", "predict", "--anyway", str(image)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Class" in done.stdout
    for page in ("streamlit_app.py", *sorted(str(p.relative_to(PROJECT)) for p in PROJECT.glob("pages/*.py"))):
        app = AppTest.from_file(str(PROJECT / page), default_timeout=60).run()
        assert not app.exception, f"{page}: {app.exception}"
        if "Predict" in page:
            app.file_uploader[0].upload("film.png", image.read_bytes(), "image/png").run()
            assert not app.exception, f"{page} with an image: {app.exception}"
        print(f"{page} runs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
