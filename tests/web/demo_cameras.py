"""Network cameras on this machine that show the demo clip in a loop, at its own speed."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from time import monotonic

import av
import cv2

from tests.servers import Answer, Request, http_server


def demo_jpegs(video: str) -> list[bytes]:
    """Return every eighth frame of a video: three in a second of the demo."""
    with av.open(video) as container:
        frames = [frame.to_ndarray(format="bgr24") for at, frame in enumerate(container.decode(video=0)) if at % 8 == 0]
    return [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]


def looped(jpegs: list[bytes], begins_at: int = 0, fps: float = 3) -> Answer:
    """Answer like a camera that sends these images in a loop, as MJPEG."""

    def answer(request: Request) -> None:
        request.start(200, Content_Type="multipart/x-mixed-replace; boundary=frame")
        started_s = monotonic()
        for index in count():
            if request.stopped.wait(max(0.0, started_s + index / fps - monotonic())):
                return
            image = jpegs[(begins_at + index) % len(jpegs)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            request.wfile.write(head.encode() + image + b"\r\n")

    return answer


@contextmanager
def demo_cameras(jpegs: list[bytes], *paths: str) -> Iterator[str]:
    """Run cameras that begin at different images; yields the address of the server."""
    with http_server({path: looped(jpegs, 8 * at) for at, path in enumerate(paths)}) as url:
        yield url
