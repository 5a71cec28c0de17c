import bridgeio


async def number_lines() -> None:
    """As ``cat -n``: try it with a file, in a pipe, and at a terminal."""
    reader = await bridgeio.open_stdin()
    writer = await bridgeio.open_stdout()
    number = 0
    async for line in reader:
        number += 1
        writer.write(b"%6d  " % number + line)
        await writer.drain()


if __name__ == "__main__":
    bridgeio.run(number_lines)
