"""Local sources other than a file: pipes, devices, folders of videos, playlists, errors."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.inputs.containers import prepared
from tests.inputs.table import FRAMES, LENGTH_S, PLAIN, Row, ffmpeg
from tests.slowness import LONGEST_S


@contextmanager
def fifo(folder: Path) -> Iterator[str]:
    """Write a transport stream to a named pipe."""
    os.mkfifo(folder / "pipe.ts")
    feeder = subprocess.Popen(["sh", "-c", "cat fed.ts > pipe.ts"], cwd=folder)
    try:
        yield ""
    finally:
        feeder.kill()
        feeder.wait(LONGEST_S)


def videos(folder: Path) -> None:
    (folder / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(folder / PLAIN, folder / "clips" / name)


def videos_and_others(folder: Path) -> None:
    videos(folder)
    (folder / "clips" / "notes.txt").write_text("no video")


def playlist(folder: Path) -> None:
    ffmpeg(folder, "-i", PLAIN, "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod", "list.m3u8")


TWO = {f"judged/{name}.mp4": (FRAMES, LENGTH_S) for name in ("a", "b")}
PIPED = "-c copy piped.ts"

LOCAL = [
    Row("standard input, TS", "-", ffmpeg=PIPED, stdin="piped.ts"),
    Row("standard input, MKV", "-", ffmpeg="-c copy piped.mkv", stdin="piped.mkv"),
    Row("standard input, fragmented MP4", "-", ffmpeg="-c copy -movflags frag_keyframe+empty_moov piped.mp4", stdin="piped.mp4"),
    Row(
        "standard input, MP4 with its index at the beginning",
        "-",
        ffmpeg="-c copy -movflags faststart piped.mp4",
        stdin="piped.mp4",
    ),
    Row("standard input, H.264", "-", ffmpeg="-c:v copy piped.h264", stdin="piped.h264"),
    Row("standard input, MJPEG", "-", ffmpeg="-c:v mjpeg -q:v 2 -f mjpeg piped.mjpeg", stdin="piped.mjpeg"),
    Row("standard input, Y4M", "-", ffmpeg="piped.y4m", stdin="piped.y4m"),
    Row("standard input, an image", "-", stdin="photo.png", frames=1),
    Row("/dev/stdin", "/dev/stdin", ffmpeg=PIPED, stdin="piped.ts"),
    Row("a named pipe (FIFO)", "pipe.ts", ffmpeg="-c copy fed.ts", scene=fifo, made="`mkfifo pipe.ts; cat fed.ts > pipe.ts &`"),
    Row("a folder of videos", "clips", "--output judged", scene=prepared(videos), frames=2 * FRAMES, people=6, outputs=TWO),
    Row(
        "a pattern of videos", "clips/*.mp4", "--output judged", scene=prepared(videos), frames=2 * FRAMES, people=6, outputs=TWO
    ),
    Row("a folder of videos and others", "clips", scene=prepared(videos_and_others), frames=2 * FRAMES, people=6),
    Row("several videos by --source", "clips/a.mp4", "--source clips/b.mp4", scene=prepared(videos), frames=2 * FRAMES, people=6),
    Row(
        "a list of cameras",
        "cameras.yaml",
        scene=prepared(lambda folder: (folder / "cameras.yaml").write_text(f"- {{name: gate, url: {PLAIN}}}\n")),
    ),
    Row("a local playlist of HLS", "list.m3u8", scene=prepared(playlist)),
    Row("a missing webcam", "0", "--max-reconnects 0", code=3, says="webcam"),
    Row("/dev/video0 that does not exist", "/dev/video0", "--max-reconnects 0", code=3, says="/dev/video0|webcam"),
    Row("a missing file", "missing.mp4", code=3, says="missing.mp4: no such file; check the path"),
    Row(
        "an empty file",
        "empty.mp4",
        scene=prepared(lambda folder: (folder / "empty.mp4").touch()),
        code=3,
        says="the file is empty",
    ),
    Row(
        "a text file",
        "notes.txt",
        scene=prepared(lambda folder: (folder / "notes.txt").write_text("hello\n" * 100)),
        code=3,
        says="notes.txt",
    ),
    Row(
        "an HTML file",
        "page.html",
        scene=prepared(lambda folder: (folder / "page.html").write_text("<html><body>hello</body></html>\n" * 30)),
        code=3,
        says="page.html",
    ),
    Row("an empty folder", "nothing", scene=prepared(lambda folder: (folder / "nothing").mkdir()), code=3, says="nothing: no "),
    Row("no file matches", "'*.mkv'", code=3, says="no file matches"),
    Row(
        "an empty standard input",
        "-",
        scene=prepared(lambda folder: None),
        stdin="",
        code=3,
        says="ended before any data arrived",
    ),
    Row("a device without end", "/dev/zero", code=3, says="/dev/zero"),
    Row("a protocol of FFmpeg", "concat:clip.mp4|clip.mp4", code=3, says="no such file"),
    Row("an unknown scheme", "ftp://192.0.2.1/clip.mp4", code=3, says="ftp:// is not supported"),
    Row("a YouTube page", "https://www.youtube.com/watch?v=aqz-KE-bpKQ", "--max-reconnects 0", code=3, says="yt-dlp"),
    Row("a short link to YouTube", "https://youtu.be/aqz-KE-bpKQ", "--max-reconnects 0", code=3, says="yt-dlp"),
]

OUTPUTS = [
    Row(f"output as {suffix}", PLAIN, f"--output out.{suffix}", outputs={f"out.{suffix}": (FRAMES, LENGTH_S)}, sound=True)
    for suffix in ("mp4", "m4v", "mov", "mkv", "webm", "avi")
]
OUTPUTS += [
    Row(
        f"output as {suffix}, of {sound}",
        source,
        f"--output out.{suffix}",
        ffmpeg=f"-c:v copy {coded} {source}",
        outputs={f"out.{suffix}": (FRAMES, LENGTH_S)},
        sound=True,
    )
    for suffix, sound, coded, source in (
        ("mp4", "Opus", "-c:a libopus", "opus.mkv"),
        ("mp4", "PCM", "-c:a pcm_s16le", "pcm.mov"),
        ("mp4", "Vorbis", "-c:a libvorbis", "vorbis.mkv"),
        ("mov", "Opus", "-c:a libopus", "opus.mkv"),
        ("webm", "MP3", "-c:a libmp3lame", "mp3.avi"),
        ("webm", "AC-3 of 5.1", "-c:a ac3 -ac 6", "surround.mkv"),
        ("avi", "FLAC", "-c:a flac", "flac.mkv"),
        ("mkv", "A-law of 8 kHz", "-c:a pcm_alaw -ar 8000 -ac 1", "alaw.mov"),
    )
]
OUTPUTS += [
    Row(f"output as {suffix}", PLAIN, f"--output out.{suffix}", code=code, says=f"out.{suffix}")
    for suffix, code in (("wmv", 5), ("gif", 5))
]
OUTPUTS += [
    Row(
        f"output as {suffix} of a variable frame rate",
        "vfr.mp4",
        f"--output out.{suffix}",
        ffmpeg="-vf select='not(mod(n\\,3))+lt(n\\,8)' -vsync vfr -c:v libx264 -crf 14 vfr.mp4",
        frames=14,
        outputs={f"out.{suffix}": (14, LENGTH_S)},
    )
    for suffix in ("mp4", "mkv", "mov", "webm")
]
OUTPUTS += [
    Row("output of an image as .png", "photo.png", "--output judged.png", frames=1),
    Row("output of an image as .webp", "photo.png", "--output judged.webp", frames=1),
]
