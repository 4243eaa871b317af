from pathlib import Path
from textwrap import dedent

from tests.sizes import Sizes, arrows

SOURCE = dedent('''\
    """What it contains."""

    class Box:
        """A box."""

        def area(self):
            """Return the area."""
            if self.is_empty:

                return 0
            return self.width * self.height

        def _hidden(self):
            return 1

        def undocumented(self):
            def inner():
                return 1
            return inner
''')


def test_sizes_of_a_module() -> None:
    sizes = Sizes()
    sizes.add(SOURCE)
    assert sizes.lines == [19]
    assert sorted(sizes.bodies) == [1, 1, 3, 4]  # a docstring is no part of a body
    assert sorted(sizes.complexities) == [1, 1, 2]
    assert sizes.documented == [True, True, True, False]  # module, class, two public methods
    assert sizes.row("box") == ("box", "1", "19", "19", "4", "2.0", "4", "1.33", "0", "75%")


def test_arrows_are_imports_of_other_rooms_wherever_they_are(tmp_path: Path) -> None:
    for name, text in {
        "__init__.py": "from maskstream.sinks import A",
        "types.py": "import numpy",
        "sinks/video.py": "from maskstream.types import Frame\ndef f():\n    import maskstream.io.files",
        "io/files.py": "from maskstream.io import text",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert arrows(tmp_path) == {("sinks", "types"), ("sinks", "io")}
