"""The documentation's site: sphinx-build --fail-on-warning docs build/site"""

import importlib.metadata

project = "tokenrelay"
author = "the tokenrelay contributors"
release = importlib.metadata.version("tokenrelay")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# With `nitpicky`, a link to a page, a file, a heading or a name that is not there fails the build;
# the headings' anchors are those that code hosts make.
nitpicky = True
myst_heading_anchors = 3
# What the standard library and the adapters' libraries call theirs is on other sites.
nitpick_ignore_regex = [
    ("py:class", r"(?!tokenrelay\b).*"),
    ("py:obj", r"(grpc|httpx|requests|aiohttp)(\..+)?"),
]
# A name in `backquotes` of a docstring is a link.
default_role = "py:obj"

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "tokenrelay"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
