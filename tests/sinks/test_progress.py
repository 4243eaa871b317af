import io
from dataclasses import replace

from rich.console import Console

from maskstream.sinks import ProgressSink
from maskstream.types import SourceInfo
from tests.conftest import make_frame
from tests.video_files import output_of


def test_a_name_is_neither_markup_nor_a_line_break() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200)
    sink = ProgressSink(terminal, [SourceInfo("cam[/b]\n[red]era", 64, 48, live=True)], None)
    sink.close()
    assert isinstance(terminal.file, io.StringIO)
    assert "cam[/b]\\n[red]era" in terminal.file.getvalue()


def test_a_deferred_file_has_its_bar_while_it_is_read() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200)
    files = [SourceInfo(f"{index}.mp4", 0, 0, live=False) for index in range(3)]
    opened = {info.source_id: replace(info, width=64, height=48, frame_count=2) for info in files}
    sink = ProgressSink(terminal, files, None, opened.get)
    shown = []
    for info in files:
        for index in range(2):
            sink.write(output_of(make_frame(index, source_id=info.source_id)))
        sink.source_ended(info.source_id)
        shown.append([(task.description, task.total) for task in sink._progress.tasks])
    sink.close()
    assert shown == [[("0.mp4", 2)], [("1.mp4", 2)], [("2.mp4", 2)]]
