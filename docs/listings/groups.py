"""Several questions at once, each on a connection of its own."""

import bridgeio


async def ask_all(host, port, questions):
    answers = {}

    async def ask(question):
        reader, writer = await bridgeio.open_connection(host, port)
        async with writer:
            writer.write(question)
            await writer.drain()
            answers[question] = await reader.readline()

    async with bridgeio.create_task_group() as group:
        for question in questions:
            group.start_soon(ask, question)
    return answers
