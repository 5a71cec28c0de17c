"""The new handler in a service, for twistd. Side by side with between.py.

PYTHONPATH=. twistd --nodaemon --python service.py
"""

import os
from functools import partial

from before import LONGEST_LINE, Lockers
from between import serve_client
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

import bridgeio
from bridgeio_twisted import as_deferred


class LockerService(Service):
    log = Logger()

    def __init__(self, lockers, port):
        self._handler = partial(serve_client, lockers, 60.0)
        self._port = port

    def startService(self):
        super().startService()
        self._serving = as_deferred(self.serve())
        self._serving.addErrback(lambda failure: failure.trap(CancelledError))
        self._serving.addErrback(lambda failure: self.log.failure("The lockers have failed", failure))

    def stopService(self):
        super().stopService()
        self._serving.cancel()
        return self._serving

    async def serve(self):
        async with bridgeio.serve(self._handler, "127.0.0.1", self._port, limit=LONGEST_LINE, grace=0) as server:
            self.log.info("listening on port {port}", port=server.port)
            await server.serve_forever()


application = Application("lockers")
LockerService(Lockers(reactor), int(os.environ.get("LOCKER_PORT", "7000"))).setServiceParent(application)
