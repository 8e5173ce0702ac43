"""What `make run` starts: a small sink, the scheduler, and the schedules of hello.yaml.

Three things to learn from: processes of one's own beside the scheduler (`run_processes`), a scheduler of one's own by
inheritance, and listening to facts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from backend.app import guarded, run_processes
from backend.errors import ConfigurationError
from backend.events import AttemptFinished, Fact, Listening, OccurrencesRecorded, SchedulePaused
from backend.executor.scheduler import Scheduler
from backend.model.instants import to_datetime
from backend.process.base import Process
from backend.settings import load_settings

HERE = Path(__file__).parent
SINK_PORT = 8099
COLOURS = {"succeeded": "green", "retrying": "yellow"}


class Sink(Process):
    """Answers every POST with the run it heard of; runs in the background, as a child process."""

    def __init__(self) -> None:
        super().__init__("sink", grace=timedelta(seconds=3))

    def run(self) -> None:
        server = self.listen()
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        self.ready()
        self.stop_requested.wait()
        server.shutdown()
        server.server_close()

    def listen(self) -> ThreadingHTTPServer:
        try:
            return ThreadingHTTPServer(("127.0.0.1", SINK_PORT), Answer)
        except OSError as error:
            raise ConfigurationError(
                f"127.0.0.1:{SINK_PORT}, the port of the example's sink, cannot be listened on ({error.strerror}); "
                "stop what uses it, or change SINK_PORT in examples/hello.py and the url in examples/hello.yaml"
            ) from None


class Answer(BaseHTTPRequestHandler):
    """One request to the sink."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        heard = {"heard": self.headers["Idempotency-Key"], "attempt": self.headers["X-Attempt"]}
        body = json.dumps(heard).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the scheduler prints each run."""


class HelloScheduler(Scheduler):
    """The scheduler, which registers an example once it runs and prints each run as it happens."""

    def prepare(self) -> None:
        super().prepare()
        self.console = Console(highlight=False)
        self.events.subscribe(self.tell)

    def ready(self) -> None:
        super().ready()
        threading.Thread(target=self.apply, daemon=True).start()

    def apply(self) -> None:
        command = [sys.executable, "-m", "backend", "apply", "-f", str(HERE / "hello.yaml"), "--url", self.url]
        subprocess.run(command, check=False)

    def tell(self, fact: Fact) -> None:
        match fact:
            case Listening(url, key_file):
                self.url = url
                self.console.print(f"[bold]Listening on {url}[/] — the admin key is in {key_file}", soft_wrap=True)
                self.console.print("Commands and loopback targets are allowed here. Ctrl-C stops.\n")
            case AttemptFinished():
                self.tell_attempt(fact)
            case OccurrencesRecorded(dropped=dropped) if dropped:
                self.console.print(f"[yellow]{dropped} occurrences did not run; `scheduler runs` says why[/]")
            case SchedulePaused(schedule_id=schedule_id, note=note):
                self.console.print(
                    f"[red]{schedule_id} {escape(note)}; mend it, then `scheduler resume {schedule_id}`[/]"
                )

    def tell_attempt(self, fact: AttemptFinished) -> None:
        at = to_datetime(fact.started_at).astimezone().strftime("%H:%M:%S.%f")[:-3]
        late, took = (fact.started_at - fact.scheduled_at) / 1000, (fact.finished_at - fact.started_at) / 1000
        colour = COLOURS.get(fact.run_state, "red")
        error = f"  {escape(fact.error)}" if fact.error else ""
        self.console.print(
            f"{at}  {fact.schedule_id:14} attempt {fact.attempt}  [{colour}]{fact.run_state:10}[/] "
            f"{late:6.0f} ms late  {took:6.0f} ms{error}"
        )


def main() -> None:
    with guarded():
        data_dir = load_settings().data_dir
        settings = load_settings(
            bind_host="127.0.0.1",
            allow_commands=True,
            allow_private_urls=True,
            log_file=data_dir / "scheduler.log",
        )
    run_processes(Sink(), HelloScheduler(settings=settings))
    print("Stopped.")


if __name__ == "__main__":
    main()
