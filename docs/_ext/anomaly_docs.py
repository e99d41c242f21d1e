"""Directives that write pages from the program itself, so that no page can disagree with --help or a docstring.

{method} NAME, {methods} [detectors|explainers|translators|registrars|forecasters|segmenters|synthesizers|painters],
{analyses}, {kinds}, {commands}, {doors}; {floors} and {rooms} are in `house`. At the beginning of a build the pages of
the API and copies of the notebooks are laid beside the written pages.
"""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import house
import told
import typer
from docstrings import as_plain_text, opening
from docutils import nodes
from docutils.parsers.rst import Directive
from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

from anomaly.commandline.analyses import ANALYSES
from anomaly.commandline.meanings import Setting, arguments, settings
from anomaly.detectors import DETECTORS
from anomaly.evolution.register import FORECASTERS
from anomaly.painters.register import SYNTHESIZERS
from anomaly.registration.run import METHODS as REGISTRARS
from anomaly.segmenters.register import SEGMENTERS
from anomaly.simulation import KINDS
from anomaly.translation.run import METHODS as TRANSLATORS
from anomaly.translators.restorer import Restorer
from cli import commands
from explain import EXPLAINERS, Classifier, TrainedExplainer
from explain.painting.run import METHODS as PAINTERS

ROOT = Path(__file__).resolve().parents[2]
SPELT_OUT = stringify_annotation(ArrayLike, "smart")
SIDES = {"detectors": DETECTORS, "explainers": EXPLAINERS, "translators": TRANSLATORS, "registrars": REGISTRARS}
SIDES |= {"forecasters": FORECASTERS, "painters": PAINTERS, "segmenters": SEGMENTERS, "synthesizers": SYNTHESIZERS}


class Method(Directive):
    """`{method} NAME`: what a method is for, what it wants, its settings, whom to cite."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write it."""
        (name,) = self.arguments
        own = {Classifier.name: Classifier, Restorer.name: Restorer}
        known = {**DETECTORS, **EXPLAINERS, **TRANSLATORS, **REGISTRARS, **FORECASTERS, **SEGMENTERS}
        known |= {**SYNTHESIZERS, **PAINTERS, **own}
        if name not in known:
            raise self.error(f"there is no method {name!r}; there are {', '.join(known)}")
        cls = known[name]
        facts = [
            ["What it does", cls.summary],
            ["Command", told.code(_asked(name, cls))],
            ["Learns from", _learns_from(name, cls)],
            ["Images", "2D and 3D"],
            *([["Draws new images", "yes, by `anomaly generate`"]] if getattr(cls, "generates", False) else []),
            ["Reference", cls.cite],
            ["In Python", told.api(f"{cls.__module__}.{cls.__qualname__}", f"{_door(name)}.{cls.__name__}")],
        ]
        return [
            told.table([], facts, [1, 4]),
            *_settings_table([(each.name, each.default, _meant(each)) for each in settings(cls)]),
        ]


class Methods(Directive):
    """`{methods}`: all of them in a table each, or with an argument the detectors or the explainers alone."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write them."""
        chosen = self.arguments or list(SIDES)
        return [
            told.table(
                ["name", "what it does", "cite"],
                [
                    [told.page(name, f"methods/{name}"), cls.summary, cls.cite]
                    for name, cls in sorted(SIDES[side].items(), key=lambda each: _order(*each))
                ],
                [2, 5, 4],
            )
            for side in chosen
        ]


class Analyses(Directive):
    """`{analyses}`: what can be asked of scores and maps."""

    def run(self) -> list[nodes.Node]:
        """Write the table."""
        rows = [[told.code(each.name), each.summary, told.code(each.asked), each.cite] for each in ANALYSES]
        return [told.table(["analysis", "what it says", "asked by", "cite"], rows, [2, 5, 3, 5])]


class Kinds(Directive):
    """`{kinds}`: the simulated cohorts, and the settings of each."""

    def run(self) -> list[nodes.Node]:
        """Write a table of kinds, and below it one of settings for each kind."""
        rows = [[told.code(name), opening(function)] for name, function in KINDS.items()]
        parts: list[nodes.Node] = [told.table(["kind", "what is drawn"], rows, [1, 4])]
        for name in KINDS:
            parts += [told.paragraph("Settings of ", told.code(name), ":"), *_settings_table(_kind_settings(name))]
        return parts


class Commands(Directive):
    """`{commands}`: every command with its help, arguments and options."""

    def run(self) -> list[nodes.Node]:
        """Write a section a command."""
        top = typer.main.get_command(commands)
        return [_command_section(words, command) for words, command in _walk("anomaly", top)]


class Doors(Directive):
    """`{doors} PACKAGE`: the names that a package offers to users, where they live and what for."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the table."""
        (package,) = self.arguments
        names = (name for name in import_module(package).__all__ if not name.startswith("_"))
        return [told.table(["name", "what it is for"], [_door_row(package, name) for name in names], [2, 5])]


def _asked(name: str, cls: Any) -> str:
    """How a method is asked for."""
    needs = " --target RUN" if name in EXPLAINERS and _takes_target(cls) else ""
    needs += " --generator RUN" if getattr(cls, "takes_generator", False) else ""
    if name in DETECTORS:
        return f"anomaly train --method {name}"
    if name in REGISTRARS:
        return f"anomaly register train --method {name}"
    if name in TRANSLATORS:
        return f"anomaly translate train --method {name}"
    if name in FORECASTERS:
        return f"anomaly progress train --method {name}"
    if name in SYNTHESIZERS:
        return f"anomaly synthesize train --method {name}"
    if name in SEGMENTERS:
        return f"anomaly segment train --method {name}"
    if name in PAINTERS:
        return f"anomaly paint train --method {name}"
    if cls is Classifier:
        return "anomaly explain classifier"
    if cls is Restorer:
        return "anomaly restore train --degrade NAME"
    if issubclass(cls, TrainedExplainer):
        return f"anomaly explain train --method {name}{' --pair COLUMN' if cls.paired else ''}{needs}"
    return f"anomaly explain map {name}{needs}"


def _takes_target(cls: Any) -> bool:
    """Whether an explainer explains a target; those that are not trained all do."""
    return cls.takes_target if issubclass(cls, TrainedExplainer) else True


def _learns_from(name: str, cls: Any) -> str:
    """What a method wants to see before it says anything."""
    if name in DETECTORS:
        return "images of normal people"
    if name in REGISTRARS:
        return "visits of persons, or any images that lie roughly on one another"
    if name in TRANSLATORS:
        return "two heaps of images, no pairs"
    if name in FORECASTERS:
        return "persons seen twice, with a map of the disease at both visits"
    if name in SYNTHESIZERS:
        return "images with a label map each, and learns to draw the one from the other"
    if name in SEGMENTERS:
        return f"images with label maps{', and images without' if cls.unlabelled else ''}"
    if name in PAINTERS:
        return "images with masks of lesions and their class, and images without lesions"
    if cls is Classifier:
        return "cases and controls"
    if cls is Restorer:
        return "good images, or pairs of poor and good"
    if not issubclass(cls, TrainedExplainer):
        return "nothing: it asks the target about each image"
    if cls.paired:
        return "cases, each with its counterpart"
    beside = [word for word, given in (("a target", cls.takes_target), ("a generator", _draws(cls))) if given]
    return f"cases and controls, no pairs{'; needs ' + ' and '.join(beside) if beside else ''}"


def _draws(cls: Any) -> bool:
    return getattr(cls, "takes_generator", False)


def _order(name: str, cls: Any) -> int:
    """Detectors as they are listed; of the explainers those first that are trained."""
    return 1 if name in EXPLAINERS and not issubclass(cls, TrainedExplainer) else 0


def _door(name: str) -> str:
    if name in REGISTRARS:
        return "anomaly.registrars.learned"
    if name in FORECASTERS:
        return "anomaly.evolution.register"
    if name in SYNTHESIZERS:
        return "anomaly.painters.register"
    if name in SEGMENTERS:
        return "anomaly.segmenters.register"
    if name in PAINTERS:
        return "anomaly.painters.lesions"
    if name in TRANSLATORS or name == Restorer.name:
        return "anomaly.translators.cycle" if name in TRANSLATORS else Restorer.__module__
    return "anomaly.detectors" if name in DETECTORS else "explain"


def _settings_table(rows: list[tuple[str, Any, str]]) -> list[nodes.Node]:
    if not rows:
        return [told.paragraph("It has no settings.")]
    cells = [[told.code(name), told.shown(default), meaning] for name, default, meaning in rows]
    return [told.table(["setting", "default", "meaning"], cells, [2, 2, 7])]


def _meant(setting: Setting) -> str:
    """What a setting means, and what it may be."""
    return f"{setting.meaning.rstrip('.')}; {setting.allowed}." if setting.allowed else setting.meaning


def _kind_settings(name: str) -> list[tuple[str, Any, str]]:
    """What can be set of a simulated cohort."""
    function = KINDS[name]
    meanings = arguments(function.__doc__)
    taken = inspect.signature(function).parameters.values()
    rows = [(each.name, each.default, meanings[each.name]) for each in taken if each.name != "out"]
    return [(name, "" if default is inspect.Parameter.empty else default, text) for name, default, text in rows]


def _walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command below another, with the words that call it, groups before what is in them."""
    for name, below in command.commands.items():
        yield f"{words} {name}", below
        if hasattr(below, "commands"):
            yield from _walk(f"{words} {name}", below)


def _command_section(words: str, command: Any) -> nodes.section:
    text = inspect.cleandoc(command.help or "").split("\n\n")
    parts: list[nodes.Node] = [told.paragraph(" ".join(each.split())) for each in text]
    if not hasattr(command, "commands"):
        context = command.make_context(words, [], resilient_parsing=True)
        options = [
            (each, _typed(each, context))
            for each in command.params
            if each.name != "help" and not getattr(each, "hidden", False)
        ]
        needed = [typed for each, typed in options if each.required]
        usage = " ".join([words, *needed, *(["[OPTIONS]"] if len(needed) < len(options) else [])])
        parts.append(nodes.literal_block(usage, usage, language="text"))
        rows = [[told.code(typed), _default(each), each.help or ""] for each, typed in options]
        parts += [told.table(["argument or option", "default", "meaning"], rows, [4, 2, 7])] if rows else []
    return told.section(words, words.replace(" ", "-"), *parts)


def _typed(parameter: Any, context: Any) -> str:
    """A parameter as it is typed: --size TEXT, RUN..."""
    option = next((each for each in parameter.opts if each.startswith("-")), None)
    if option is None:
        return parameter.metavar or parameter.name.upper()
    if getattr(parameter, "is_flag", False):
        return option
    return f"{option} {parameter.metavar or _kind(parameter.get_help_record(context)[0])}"


def _kind(record: str) -> str:
    """A word for what is to be given, where the program has none but the type, which --help names."""
    told_type = record.lower()
    kinds = {"int": "N", "float": "NUMBER", "path": "PATH"}
    return next((word for kind, word in kinds.items() if kind in told_type.partition(" ")[2]), "TEXT")


def _default(parameter: Any) -> told.Cell:
    if parameter.required:
        return "required"
    return "off" if getattr(parameter, "is_flag", False) else told.shown(parameter.default)


def _door_row(package: str, name: str) -> list[told.Cell]:
    thing = getattr(import_module(package), name)
    place = getattr(thing, "__module__", None)
    full = f"{package}.{name}"
    if inspect.isclass(thing) or inspect.isfunction(thing):
        return [told.api(f"{place}.{thing.__qualname__}", full), opening(thing)]
    if isinstance(thing, dict):
        names = ", ".join(f"`{each}`" for each in thing)
        return [told.code(full), f"the classes by the names of their methods: {names}"]
    return [told.code(full), "a type: see the pages below"]


def lay_out(app: Sphinx) -> None:
    """Lay the pages of the API and copies of the notebooks beside the written pages."""
    house.write_api(Path(app.srcdir) / "api")
    (Path(app.srcdir) / "notebooks").mkdir(exist_ok=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        copy = Path(app.srcdir) / "notebooks" / notebook.name
        if not copy.exists() or copy.read_bytes() != notebook.read_bytes():
            shutil.copyfile(notebook, copy)


def shorten(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Have NumPy's ArrayLike called so in signatures, which would spell out all that it may be."""
    parts = [None if part is None else part.replace(SPELT_OUT, "ArrayLike") for part in (signature, returned)]
    return parts[0], parts[1]


def escape(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Have docstrings read as the plain text that they are."""
    lines[:] = as_plain_text(lines)


def without_type_variables(app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
    """Leave the names of type variables and aliases in signatures as they are: there is nothing to link to."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("refdomain") != "py" or module.partition(".")[0] not in house.PRODUCT or module not in sys.modules:
        return None
    thing = getattr(sys.modules[module], name, None)
    return contnode if thing is not None and not inspect.isclass(thing) and not callable(thing) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    directives = {
        "method": Method, "methods": Methods, "analyses": Analyses, "kinds": Kinds, "commands": Commands,
        "doors": Doors, "floors": house.Floors, "rooms": house.Picture,
    }  # fmt: skip
    for name, directive in directives.items():
        app.add_directive(name, directive)
    app.connect("builder-inited", lay_out, priority=100)
    app.connect("autodoc-process-signature", shorten)
    app.connect("missing-reference", without_type_variables)
    app.connect("autodoc-process-docstring", escape, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
