"""A call that blocks, in a worker thread that says how far it is and stops when it is not wanted any more."""

import hashlib

from bridgeio import from_thread, to_thread


async def checksum(path, on_progress):
    def read():
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                from_thread.check_cancelled()  # raises here if the task was cancelled
                digest.update(piece)
                from_thread.run(on_progress, file.tell())  # an async function, in the run
        return digest.hexdigest()

    return await to_thread.run_sync(read)
