"""How the documentation is built, by `make docs`: without a network, mostly from what the program says of itself."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext"), str(ROOT / "tests")]  # tests: the table of rooms
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

import anomaly

project = "anomaly"
release = version = anomaly.__version__
author = "The anomaly-explain authors"
project_copyright = author
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "anomaly_docs",
    "formulas",
]
exclude_patterns = ["_build", "_ext", "gallery/scripts", "gallery/*.ipynb", "gallery/*.py", "**/README.md"]
templates_path: list[str] = []

# Pages
smartquotes = False  # they would make one dash of the two of --set
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are shown with the outputs that are stored in them
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # would be taken from the network
nb_merge_streams = True

html_math_renderer = "mathml"
primary_domain = None  # else `{method}` would be Python's

# The API: docstrings are plain text, with Args, Returns and Raises
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
add_module_names = False
# No network, so no inventories of other projects: only names of our own must lead somewhere.
nitpick_ignore_regex = [(r"py:.*", r"(?!anomaly\.|explain\.).*")]

# Pictures that are drawn while the pages are built
sphinx_gallery_conf = {
    "examples_dirs": "gallery/scripts",
    "gallery_dirs": "gallery",
    "filename_pattern": r".*\.py",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 10_000,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "image_srcset": [],
    "thumbnail_size": (320, 224),
}

# Looks
html_theme = "pydata_sphinx_theme"
html_title = "anomaly"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars: dict[str, list[str]] = {  # pages without pages below them need no list of these
    page: [] for page in ("index", "commands", "design", "glossary", "outputs", "statistics", "tutorial")
}
html_theme_options = {
    "logo": {"text": "anomaly"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "collapse_navigation": True,
    "show_nav_level": 1,
    "navigation_depth": 3,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
