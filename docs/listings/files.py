import bridgeio
from bridgeio import Path


async def serve_notes(reader: bridgeio.Reader, writer: bridgeio.Writer, folder: Path) -> None:
    """Answers each line, the name of a note, with the note; others are served meanwhile."""
    async for line in reader:
        note = folder / Path(line.decode().strip()).name
        if await note.is_file():
            async with await note.open("rb") as file:
                while data := await file.read(65536):
                    writer.write(data)
                    await writer.drain()
        else:
            writer.write(b"no such note\n")


async def write_note(folder: Path, name: str, text: str) -> None:
    """All of it or nothing: a reader never sees half a note, and a cancel leaves none behind."""
    async with bridgeio.TemporaryDirectory(dir=str(folder)) as drafts:
        draft = Path(drafts, name)
        await draft.write_text(text)
        await draft.replace(folder / name)
