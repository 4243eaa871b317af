"""Images: formats, modes, folders, patterns, and other files."""

import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.inputs.containers import prepared, video
from tests.inputs.table import PLAIN, Row, ffmpeg

PHOTO = "photo.png"
ONE = 1
ORIENTATION = 0x0112
"""The EXIF tag with the orientation of an image."""


def image(name: str, target: str, make: Callable[[Image.Image], Image.Image] | None = None, **saving: object) -> Row:
    """Return the row of an image that Pillow writes."""

    def save(folder: Path) -> None:
        with Image.open(folder / PHOTO) as photo:
            (make(photo) if make else photo.convert("RGB")).save(folder / target, **saving)

    return Row(name, target, scene=prepared(save), frames=ONE)


def with_files(name: str, source: str, make: Callable[[Path], object], options: str = "", **promised: object) -> Row:
    """Return the row of images that a function writes."""
    return Row(name, source, options, scene=prepared(make), **promised)  # type: ignore[arg-type]


def turned(photo: Image.Image) -> Image.Image:
    upside = photo.convert("RGB").transpose(Image.Transpose.ROTATE_180)
    upside.getexif()[ORIENTATION] = 3
    return upside


def exif_turned(folder: Path) -> None:
    with Image.open(folder / PHOTO) as photo:
        exif = Image.Exif()
        exif[ORIENTATION] = 6  # turned to the right when it is shown
        photo.convert("RGB").transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", quality=95, exif=exif)


def animated(folder: Path, name: str, **saving: object) -> None:
    """Write an animated image of the first five frames of the clip."""
    ffmpeg(folder, "-i", PLAIN, "-frames:v", "5", "frame_%d.png")
    frames = [Image.open(folder / f"frame_{index}.png").convert("RGB") for index in range(1, 6)]
    frames[0].save(folder / name, save_all=True, append_images=frames[1:], **saving)
    for path in folder.glob("frame_*.png"):
        path.unlink()


def filled(folder: Path, *names: str) -> None:
    """Write the photo under several names, as JPEG if their suffix says so."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(folder / PHOTO) as photo:
            photo.convert("RGB").save(path, quality=95)


def linked(folder: Path) -> None:
    filled(folder, "elsewhere/a.jpg", "elsewhere/b.jpg")
    (folder / "photos").mkdir()
    (folder / "photos" / "linked").symlink_to(folder / "elsewhere")


def damaged(folder: Path) -> None:
    filled(folder, "photos/a.jpg", "photos/b.jpg")
    (folder / "photos" / "c.jpg").write_text("no picture")
    (folder / "photos" / "d.heic").write_bytes(b"\0\0\0\x18ftypheic")


def bare(folder: Path) -> None:
    filled(folder, "photo.jpg")
    (folder / "photo.jpg").rename(folder / "snapshot")


def copied(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copy(folder / source, folder / target)


IMAGES = [
    image("JPEG", "photo.jpg", quality=95),
    image("JPEG, progressive", "photo.jpeg", quality=95, progressive=True),
    image("JPEG in CMYK", "cmyk.jpg", lambda photo: photo.convert("CMYK"), quality=95),
    image("JPEG in grey", "grey.jpg", lambda photo: photo.convert("L"), quality=95),
    with_files("JPEG turned by EXIF", "turned.jpg", exif_turned, frames=ONE),
    image("PNG", "rgb.png"),
    image("PNG with transparency", "alpha.png", lambda photo: photo.convert("RGBA")),
    image("PNG with a palette", "palette.png", lambda photo: photo.convert("RGB").quantize(256)),
    Row("PNG of 16 bits", "deep.png", ffmpeg="-frames:v 1 -pix_fmt rgb48be deep.png", frames=ONE),
    Row("PNG of 16 bits, grey", "deep.png", ffmpeg="-frames:v 1 -pix_fmt gray16be deep.png", frames=ONE),
    image("WebP", "photo.webp", quality=95),
    image("BMP", "photo.bmp"),
    image("TIFF", "photo.tif"),
    image("TIFF, LZW", "photo.tiff", compression="tiff_lzw"),
    Row("TIFF of 16 bits", "deep.tiff", ffmpeg="-frames:v 1 -pix_fmt rgb48le deep.tiff", frames=ONE),
    with_files("TIFF of five pages", "pages.tiff", lambda folder: animated(folder, "pages.tiff"), frames=(1, 5)),
    image("JPEG 2000", "photo.jp2"),
    image("AVIF", "photo.avif", quality=90),
    image("PPM", "photo.ppm"),
    image("GIF, one image", "photo.gif", lambda photo: photo.convert("RGB").quantize(256)),
    with_files("GIF, animated", "moving.gif", lambda folder: animated(folder, "moving.gif", duration=40), frames=5),
    with_files("WebP, animated", "moving.webp", lambda folder: animated(folder, "moving.webp", duration=40), frames=(1, 5)),
    with_files("PNG, animated", "moving.png", lambda folder: animated(folder, "moving.png", duration=40), frames=(1, 5)),
    with_files("JPEG without suffix", "snapshot", bare, frames=ONE),
    with_files(
        "JPEG as .png", "other.png", lambda folder: filled(folder, "a.jpg") or copied("a.jpg", "other.png")(folder), frames=ONE
    ),
    with_files("PNG as .mp4", "photo.mp4", copied(PHOTO, "photo.mp4"), frames=ONE),
    with_files("PNG as .txt", "photo.txt", copied(PHOTO, "photo.txt"), frames=ONE),
    with_files(
        "several by --source", "a.jpg", lambda folder: filled(folder, "a.jpg", "b.jpg"), "--source b.jpg", frames=2, people=6
    ),
    with_files("a folder", "photos", lambda folder: filled(folder, "photos/a.jpg", "photos/b.png"), "--output judged", frames=2),
    with_files(
        "a folder and its folders",
        "photos",
        lambda folder: filled(folder, "photos/a.jpg", "photos/deep/b.jpg", "photos/deep/er/c.jpg"),
        "--recursive --output judged",
        frames=3,
    ),
    with_files("a folder with a linked folder", "photos", linked, "--recursive", frames=2),
    with_files("a folder, some of it unreadable", "photos", damaged, frames=2, says="d.heic: HEIC is not read"),
    with_files(
        "a pattern", "photos/*.jpg", lambda folder: filled(folder, "photos/a.jpg", "photos/b.jpg", "photos/c.png"), frames=2
    ),
    with_files(
        "a pattern over folders", "photos/**/*.jpg", lambda folder: filled(folder, "photos/a.jpg", "photos/b/c.jpg"), frames=2
    ),
    video("numbered images, from 1", "-frames:v 5 -q:v 2 img_%04d.jpg", frames=5),
    video("numbered images, from 100", "-frames:v 5 -q:v 2 -start_number 100 img_%d.jpg", frames=5),
    Row(
        "HEIC",
        "phone.heic",
        scene=prepared(lambda folder: (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")),
        code=3,
        says="HEIC is not read; convert",
    ),
    Row("JPEG XL", "photo.jxl", ffmpeg="-frames:v 1 photo.jxl", code=3, says="photo.jxl"),
    Row("OpenEXR", "photo.exr", ffmpeg="-frames:v 1 photo.exr", frames=ONE, faces=None),
    with_files(
        "SVG",
        "drawing.svg",
        lambda folder: (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"),
        code=3,
        says="drawing.svg",
    ),
    with_files("PDF", "page.pdf", lambda folder: (folder / "page.pdf").write_text("%PDF-1.4\n"), code=3, says="page.pdf"),
    with_files(
        "a truncated JPEG",
        "half.jpg",
        lambda folder: filled(folder, "half.jpg") or halve(folder / "half.jpg"),
        code=3,
        says="half.jpg",
    ),
    with_files("an empty JPEG", "empty.jpg", lambda folder: (folder / "empty.jpg").touch(), code=3, says="the file is empty"),
    with_files(
        "text as .jpg", "text.jpg", lambda folder: (folder / "text.jpg").write_text("no picture"), code=3, says="not an image"
    ),
]


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
