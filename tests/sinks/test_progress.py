import io

from rich.console import Console

from maskstream.sinks import ProgressSink
from maskstream.types import SourceInfo


def test_a_name_is_neither_markup_nor_a_line_of_its_own() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200)
    sink = ProgressSink(terminal, [SourceInfo("cam[/b]\n[red]era", 64, 48, live=True)], None)
    sink.close()
    assert isinstance(terminal.file, io.StringIO)
    assert "cam[/b]\\n[red]era" in terminal.file.getvalue()
