"""Video that must be converted: rotated, oblong pixels, interlaced, HDR, odd sizes."""

from pathlib import Path

from tests.inputs.containers import prepared, video
from tests.inputs.table import PLAIN, Row
from tests.sources.test_hdr import CONVERSIONS, converted
from tests.video_files import MATRICES, set_matrix

WOVEN = "-flags +ildct+ilme -x264-params tff=1 -c:v libx264 -crf 14"


def _hdr(kind: str) -> Row:
    def make(folder: Path) -> None:
        converted("ffmpeg", folder / PLAIN, folder / f"{kind}.mp4", kind, length_s=1)

    made = "10 bit H.265, BT.2020, made with `zscale`"
    return Row(
        {"hlg": "HLG, as phones record", "pq": "PQ (HDR10)", "wide": "BT.2020 in SDR"}[kind],
        f"{kind}.mp4",
        scene=prepared(make),
        made=made,
    )


def _turned(name: str, filters: str, matrix: str) -> Row:
    """Return a video that is stored rotated, with a display matrix that rotates it back."""

    def make(folder: Path) -> None:
        set_matrix(folder / "turned.mp4", MATRICES[matrix])

    made = f"-vf {filters} -c:v libx264 -crf 14 turned.mp4"
    return Row(name, "turned.mp4", ffmpeg=made, scene=prepared(make), made="and its display matrix")


PIXELS = [
    _turned("turned by 90", "transpose=cclock", "quarter turn right"),
    _turned("turned by 180", "hflip,vflip", "half turn"),
    _turned("turned by 270", "transpose=clock", "quarter turn left"),
    _turned("mirrored", "hflip", "mirrored"),
    video("half D1", "-vf scale=320:360,setsar=2 -c:v libx264 -crf 12 halfd1.mp4"),
    video("2CIF", "-vf scale=640:180,setsar=1/2 -c:v libx264 -crf 12 2cif.mp4"),
    video("anamorphic PAL, MPEG-2", "-vf scale=720:576,setdar=16/9 -c:v mpeg2video -q:v 2 pal.mpg"),
    video("anamorphic NTSC, AVI", "-vf scale=720:480,setdar=16/9 -c:v mpeg4 -q:v 2 ntsc.avi"),
    video("HDV, 1440x1080", "-vf scale=1440:1080,setsar=4/3 -c:v libx264 -crf 14 hdv.ts"),
    video("interlaced H.264, still lines", f"-vf tinterlace=interleave_top {WOVEN} interlaced.mp4", frames=(12, 13)),
    video(
        "interlaced H.264, shaken by 50 pixels",
        f"-vf scale=720:404,crop=640:360:'40+38*sin(n*1.3)':20,tinterlace=interleave_top {WOVEN} shaken.mp4",
        "--set detector.every=1",
        frames=(12, 13),
        people=8,
    ),
    video(
        "interlaced MPEG-2, as DVDs are",
        "-vf scale=720:576,tinterlace=interleave_top,setdar=16/9 -c:v mpeg2video -q:v 2 -flags +ildct+ilme -top 1 -f dvd dvd.vob",
        frames=(12, 13),
    ),
    *map(_hdr, CONVERSIONS),
    video("odd size", "-vf crop=639:359:0:0 -c:v libx264 -crf 14 -pix_fmt yuv444p odd.mp4"),
    video("odd size, VP9", "-vf crop=637:353:0:0 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 odd.webm"),
    video("one pixel", "-vf scale=1:1 -c:v ffv1 -pix_fmt bgr0 -an dot.mkv", faces=0.0),
    video("4K", "-vf scale=3840:2160 -c:v libx264 -preset ultrafast -crf 16 4k.mp4"),
    video("portrait", "-vf pad=640:1136:0:388 -c:v libx264 -crf 14 portrait.mp4", faces=None),
    video("black", "-vf drawbox=t=fill -c:v libx264 black.mp4", faces=0.0),
    Row(
        "the size changes in mid-stream",
        "sizes.ts",
        ffmpeg="-c:v libx264 -crf 14 first.ts -vf scale=960:540 -c:v libx264 -crf 14 second.ts",
        scene=prepared(
            lambda folder: (folder / "sizes.ts").write_bytes(
                (folder / "first.ts").read_bytes() + (folder / "second.ts").read_bytes()
            )
        ),
        made="one behind the other",
        frames=50,
        people=6,
    ),
]
