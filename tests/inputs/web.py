"""Web servers: files, images, Motion JPEG, playlists, redirects, and other answers."""

import io
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from tests.certificates import Authority
from tests.inputs.table import DEMO, FRAMES, PLAIN, Row, Scene, ffmpeg
from tests.servers import LOGIN, Answer, Request, content, http_server, locked, status, stream
from tests.slowness import LONGEST_S

ONCE = "--max-reconnects 0"
"""So that an error ends the run without further attempts."""
KINDS = {"mp4": "video/mp4", "webm": "video/webm", "mkv": "video/x-matroska", "ts": "video/mp2t", "jpg": "image/jpeg"}
KINDS |= {"m3u8": "application/vnd.apple.mpegurl", "png": "image/png"}
Answers = Callable[[Path], Mapping[str, Answer]]


def web(answers: Answers) -> Scene:
    """Return a scene: a server with some answers."""

    @contextmanager
    def scene(folder: Path) -> Iterator[str]:
        with http_server(answers(folder)) as address:
            yield address.removeprefix("http://")

    return scene


def files(folder: Path) -> dict[str, Answer]:
    """Serve all files of a folder."""
    return {
        f"/{path.name}": content(path.read_bytes(), KINDS.get(path.suffix[1:], "text/plain"))
        for path in folder.iterdir()
        if path.is_file()
    }


def served(name: str, made: str = "", path: str = "", options: str = ONCE, **promised: object) -> Row:
    """Return the row of a file on a web server."""
    target = path or (made.split()[-1] if made else PLAIN)
    return Row(name, f"http://{{}}/{target}", options, made, scene=web(files), **promised)  # type: ignore[arg-type]


def asked(name: str, path: str, answers: Answers, options: str = ONCE, ffmpeg: str = "", **promised: object) -> Row:
    """Return the row of other answers of a web server."""
    return Row(name, f"http://{{}}/{path}", options, ffmpeg, scene=web(answers), **promised)  # type: ignore[arg-type]


def endless(name: str, kind: str) -> Answers:
    """Send a file without its length, and end."""
    return lambda folder: {f"/{name}": stream((folder / name).read_bytes(), kind)}


def jpeg(folder: Path, mirrored: bool = False) -> bytes:
    with Image.open(folder / "photo.png") as photo:
        shown = photo.convert("RGB")
        written = io.BytesIO()
        (shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else shown).save(written, "JPEG", quality=95)
    return written.getvalue()


def snapshots(folder: Path) -> dict[str, Answer]:
    """Answer like a camera with a snapshot URL only: a different image each time."""
    images = [jpeg(folder), jpeg(folder, mirrored=True)]
    count = iter(range(10**6))
    lock = threading.Lock()

    def answer(request: Request) -> None:
        with lock:
            image = images[next(count) % 2]
        request.start(200, Content_Type="image/jpeg", Content_Length=len(image), Cache_Control="no-store")
        request.wfile.write(image)

    return {"/cgi-bin/snapshot.cgi": answer}


def motion_jpeg(head: bytes, kind: str = "multipart/x-mixed-replace; boundary=frame", images: int = 120) -> Answers:
    """Send the photo repeatedly at 20 fps, each with some bytes before it."""

    def answers(folder: Path) -> dict[str, Answer]:
        part = head.replace(b"LENGTH", str(len(jpeg(folder))).encode()) + jpeg(folder) + b"\r\n"

        def answer(request: Request) -> None:
            request.start(200, Content_Type=kind)
            for _ in range(images):
                request.wfile.write(part)
                if request.stopped.wait(0.05):
                    return

        return {"/video": answer}

    return answers


def page(folder: Path) -> dict[str, Answer]:
    html = b"<!DOCTYPE html><html><head><title>Camera</title></head><body>Log in</body></html>" * 20
    return {"/": content(html, "text/html"), "/index.html": content(html, "text/html")}


def other_suffix(folder: Path) -> dict[str, Answer]:
    """Serve a playlist without a suffix, whose segments end in .jpg."""
    playlist = (folder / "list.m3u8").read_text().replace(".ts", ".jpg").encode()
    pieces = {f"/{path.stem}.jpg": content(path.read_bytes(), "image/jpeg") for path in folder.glob("list*.ts")}
    return {"/live/channel": content(playlist, "text/plain"), **{f"/live{path}": answer for path, answer in pieces.items()}}


def master(folder: Path) -> dict[str, Answer]:
    """Serve a master playlist of two variants; the segments of the small one are missing."""
    variants = "#EXTM3U\n"
    for rate, size, name in ((100_000, "160x90", "small.m3u8"), (900_000, "640x360", "list.m3u8")):
        variants += f"#EXT-X-STREAM-INF:BANDWIDTH={rate},RESOLUTION={size}\n{name}\n"
    small = (folder / "list.m3u8").read_bytes().replace(b"list", b"gone")
    return {
        **files(folder),
        "/master.m3u8": content(variants.encode(), KINDS["m3u8"]),
        "/small.m3u8": content(small, KINDS["m3u8"]),
    }


def encrypted(folder: Path) -> dict[str, Answer]:
    """Serve a playlist whose segments are encrypted with AES-128, with the key in the same folder."""
    (folder / "key").write_bytes(bytes(range(16)))
    (folder / "info").write_text("key\nkey\n")
    ffmpeg(
        folder, "-i", PLAIN, "-c", "copy", "-f", "hls", "-hls_playlist_type", "vod", "-hls_key_info_file", "info", "secret.m3u8"
    )
    return files(folder)


@contextmanager
def live_playlist(folder: Path) -> Iterator[str]:
    """Serve live HLS: segments of 2 s, of which the last four exist."""
    coded = ["-an", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50"]
    cut = ["-f", "hls", "-hls_time", "2", "-hls_list_size", "4", "-hls_flags", "delete_segments", "live.m3u8"]
    command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(DEMO), *coded, *cut]
    ready = threading.Event()
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL) as encoder:
        try:
            while not (folder / "live1.ts").exists() and encoder.poll() is None:
                ready.wait(0.1)

            class Current(dict[str, Answer]):
                def get(self, path: str, default: Answer | None = None) -> Answer | None:  # type: ignore[override]
                    file = folder / path.lstrip("/")
                    return content(file.read_bytes(), KINDS.get(file.suffix[1:], "text/plain")) if file.is_file() else default

            with http_server(Current()) as address:
                yield address.removeprefix("http://")
        finally:
            encoder.kill()
            encoder.wait(LONGEST_S)


@contextmanager
def own_authority(folder: Path) -> Iterator[str]:
    authority = Authority.make(folder / "authority")
    (folder / "ca.pem").write_bytes(authority.certificate.read_bytes())
    with http_server(files(folder), authority.server("camera", "IP:127.0.0.1")) as address:
        yield address.removeprefix("https://")


def leads(*lines: str, name: str = "list.m3u8") -> Answers:
    """Serve a playlist that names a file that it may not open; `FOLDER` is the folder of local files."""

    def answers(folder: Path) -> dict[str, Answer]:
        text = "\n".join(["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", *lines, "#EXT-X-ENDLIST", ""])
        return {f"/{name}": content(text.replace("FOLDER", str(folder)).encode(), KINDS["m3u8"]), **files(folder)}

    return answers


def hidden(name: str, line: str) -> Row:
    """Return the row of a playlist that names a local file as its only segment."""
    return asked(name, "list.m3u8", leads("#EXTINF:1,", line), ffmpeg="-c copy secret.ts", code=3)


def redirect(target: str) -> Answers:
    def answers(folder: Path) -> dict[str, Answer]:
        return {**files(folder), "/moved": status(302, Location=target.replace("FOLDER", str(folder)))}

    return answers


SDP = "\r\n".join(("v=0", "s=x", "c=IN IP4 127.0.0.1", "t=0 0", "m=video 5004 RTP/AVP 96", "a=rtpmap:96 H264/90000", "")).encode()
HLS = "-c copy -f hls -hls_time 1 -hls_playlist_type vod"

WEB = [
    served("MP4"),
    served("MP4, a query after its name", path="clip.mp4?token=abc"),
    asked(
        "MP4, index at the end, a server without ranges",
        PLAIN,
        lambda folder: {f"/{PLAIN}": content((folder / PLAIN).read_bytes(), KINDS["mp4"], ranges=False)},
        code=3,
        says="seek|whole",
    ),
    asked(
        "MP4, index at the beginning, a server without ranges",
        "fast.mp4",
        lambda folder: {"/fast.mp4": content((folder / "fast.mp4").read_bytes(), KINDS["mp4"], ranges=False)},
        ffmpeg="-c copy -movflags faststart fast.mp4",
    ),
    asked(
        "MP4, fragmented, without a length",
        "fragmented.mp4",
        endless("fragmented.mp4", KINDS["mp4"]),
        ffmpeg="-c copy -movflags frag_keyframe+empty_moov fragmented.mp4",
    ),
    served("MKV", "-c copy clip.mkv"),
    asked("MKV, without a length", "clip.mkv", endless("clip.mkv", KINDS["mkv"]), ffmpeg="-c copy clip.mkv"),
    served(
        "WebM without a duration (`-live 1`)",
        "-c:v libvpx -deadline realtime -cpu-used 8 -crf 10 -b:v 4M -an -f webm -live 1 live.webm",
    ),
    asked(
        "WebM without a duration and a length",
        "live.webm",
        endless("live.webm", KINDS["webm"]),
        ffmpeg="-c:v libvpx -deadline realtime -cpu-used 8 -crf 10 -b:v 4M -an -f webm -live 1 live.webm",
    ),
    served("TS", "-c copy clip.ts"),
    asked(
        "TS, without a length: live",
        "clip.ts",
        endless("clip.ts", KINDS["ts"]),
        f"--max-frames 10 {ONCE}",
        ffmpeg="-c copy clip.ts",
        frames=(1, 10),
    ),
    asked(
        "MP4 as text/plain",
        PLAIN,
        lambda folder: {f"/{PLAIN}": content((folder / PLAIN).read_bytes(), "text/plain")},
    ),
    served("AVI", "-c copy clip.avi"),
    served("FLV", "-c copy clip.flv"),
    served("H.264 without container", "-c:v copy clip.h264", frames=(10, FRAMES)),
    asked(
        "a login",
        "clip.mp4",
        lambda folder: {f"/{PLAIN}": locked(content((folder / PLAIN).read_bytes(), KINDS["mp4"]))},
        code=3,
        says=r"\(401\)",
    ),
    Row(
        "a login in the URL",
        f"http://{LOGIN}{{}}/clip.mp4",
        ONCE,
        scene=web(lambda folder: {f"/{PLAIN}": locked(content((folder / PLAIN).read_bytes(), KINDS["mp4"]))}),
    ),
    asked("a redirect", "moved", redirect(f"/{PLAIN}")),
    asked("endless redirects", "moved", redirect("/moved"), code=3, says="redirect"),
    Row(
        "https with a certificate of a private authority",
        "https://{}/clip.mp4",
        f"{ONCE} --set network.ca_file=ca.pem",
        scene=own_authority,
    ),
    Row(
        "https with an untrusted certificate",
        "https://{}/clip.mp4",
        ONCE,
        scene=own_authority,
        code=3,
        says="certificate",
    ),
    served("a missing file on the server", path="missing.mp4", code=3, says=r"\(404\)"),
    asked("a web page", "index.html", page, code=3, says="page|HTML"),
    asked("a web page at the address of a camera", "", page, code=3, says="page|HTML"),
    asked("an empty answer", "empty", lambda folder: {"/empty": content(b"", "video/mp4")}, code=3),
    Row("no server", "http://127.0.0.1:9/clip.mp4", ONCE, code=3, says="the connection was refused"),
]

STILL = [
    asked(
        "an image, to an image",
        "cover.jpg",
        lambda folder: {"/cover.jpg": content(jpeg(folder), "image/jpeg")},
        "--output judged.jpg",
        frames=1,
    ),
    asked(
        "an image without suffix, to an image",
        "photo",
        lambda folder: {"/photo": content(jpeg(folder), "image/jpeg")},
        "--output judged.jpg",
        frames=1,
    ),
    asked("PNG, to an image", "photo.png", files, "--output judged.png", frames=1),
    asked(
        "a camera with a snapshot URL only",
        "cgi-bin/snapshot.cgi",
        snapshots,
        "--max-frames 3 --set network.snapshot_s=1",
        frames=3,
        people=12,
    ),
]

PART = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n"
PLAYED = f"--max-frames 60 {ONCE}"
MOTION_JPEG = [
    asked(name, "video", motion_jpeg(head, kind), PLAYED, frames=(1, 60))
    for name, head, kind in (
        ("as in the standard", PART, "multipart/x-mixed-replace; boundary=frame"),
        ("parts of `image/jpg`", PART.replace(b"jpeg", b"jpg"), "multipart/x-mixed-replace; boundary=frame"),
        ("no type of the parts", b"--frame\r\nContent-Length: LENGTH\r\n\r\n", "multipart/x-mixed-replace; boundary=frame"),
        ("no headers of the parts", b"--frame\r\n\r\n", "multipart/x-mixed-replace; boundary=frame"),
        ("no dashes of the boundary", PART.replace(b"--frame", b"frame"), "multipart/x-mixed-replace; boundary=frame"),
        ("boundary with its dashes in the header", PART, "multipart/x-mixed-replace;boundary=--frame"),
        ("no length of the parts", b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", "multipart/x-mixed-replace; boundary=frame"),
        ("no type of the answer", PART, ""),
        ("images with nothing between them", b"", "video/x-motion-jpeg"),
    )
]
MOTION_JPEG += [
    asked(
        "one image per connection",
        "video",
        motion_jpeg(PART, images=1),
        "--max-frames 3 --set network.snapshot_s=1",
        frames=(1, 3),
        people=12,
    ),
]

PLAYLISTS = [
    served("HLS on demand", f"{HLS} list.m3u8"),
    served("HLS on demand, segments of fragmented MP4", f"{HLS} -hls_segment_type fmp4 list.m3u8"),
    asked("HLS on demand, encrypted by AES-128", "secret.m3u8", encrypted),
    asked("HLS, segments named .jpg, playlist without suffix", "live/channel", other_suffix, ffmpeg=f"{HLS} list.m3u8"),
    asked("HLS, a master playlist of two sizes, of which one is broken", "master.m3u8", master, ffmpeg=f"{HLS} list.m3u8"),
    Row(
        "HLS, live, in bursts of 2 s",
        "http://{}/live.m3u8",
        f"--max-frames 300 {ONCE}",
        scene=live_playlist,
        frames=(10, 300),
        people=9,
    ),
    hidden("a playlist that names a file URL", "file://FOLDER/secret.ts"),
    hidden("a playlist that names a path", "FOLDER/secret.ts"),
    hidden("a playlist that names `concat:`", "concat:FOLDER/secret.ts|FOLDER/secret.ts"),
    hidden("a playlist that names `subfile:`", "subfile,,start,0,end,100000,,:FOLDER/secret.ts"),
    hidden("a playlist that names `data:`", "data:video/mp2t;base64,AAAA"),
    hidden("a playlist that names `crypto:` and a file", "crypto:FOLDER/secret.ts"),
    asked(
        "a playlist whose key is a file",
        "list.m3u8",
        leads('#EXT-X-KEY:METHOD=AES-128,URI="file://FOLDER/clip.mp4"', "#EXTINF:1,", "secret.ts"),
        ffmpeg="-c copy secret.ts",
        code=3,
    ),
    asked(
        "a master playlist that names a file",
        "list.m3u8",
        leads("#EXT-X-STREAM-INF:BANDWIDTH=1", "file://FOLDER/vod.m3u8"),
        ffmpeg=f"{HLS} vod.m3u8",
        code=3,
    ),
    asked(
        "an ffconcat list that names a file",
        "list.ffconcat",
        lambda folder: {"/list.ffconcat": content(f"ffconcat version 1.0\nfile '{folder}/clip.mp4'\n".encode(), "text/plain")},
        code=3,
    ),
    asked(
        "an SDP file of a server",
        "list.sdp",
        lambda folder: {
            "/list.sdp": content(
                SDP,
                "application/sdp",
            )
        },
        code=3,
    ),
    asked("a redirect to a file", "moved", redirect("file://FOLDER/clip.mp4"), code=3),
    asked("a redirect to `concat:`", "moved", redirect("concat:FOLDER/clip.mp4"), code=3),
    asked("a redirect to RTSP", "moved", redirect("rtsp://127.0.0.1:9/cam"), code=3),
    asked("DASH", "clip.mpd", files, ffmpeg="-c copy -f dash clip.mpd", code=3, says="DASH|not read|video"),
]
