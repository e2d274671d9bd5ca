"""The service on one machine: a real Valkey, small real processes, and `python -m local` as a user runs it."""

import gc
import json
import os
import queue
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
import redis

from local.processes import Child, LocalError, TooLateError, read_procfile
from local.service import free_port
from local.settings import read_settings
from local.valkey import Valkey
from tests.support.running import wait_until

REPOSITORY = Path(__file__).parents[2]
ACCOUNT = {"SCALINGO_API_TOKEN": "tk-us-x", "SCALINGO_API_URL": "http://none"}
CONFIGURED = {**ACCOUNT, "REDIS_URL": "unix:///none"}  # None of them is used by these processes.
PATIENCE_S = 30.0  # reached only if something hangs

WEB = """
import http.server, json, os
class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {})
    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print("tracking", sent["app"], sent["operation_url"], flush=True)
        self.answer(202, {"id": "osc-fr1-" + sent["operation_url"].removesuffix("/output").rpartition("/")[2]})
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def log_message(self, *args):
        pass
print("web", os.getpid(), os.environ["SCALINGO_API_URL"], os.environ["REDIS_URL"], flush=True)
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Web).serve_forever()
"""


class Alive:
    """Tells whether any process of a test still runs: each holds the writing end of this FIFO."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "alive"
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def wait_until_somebody(self) -> None:
        """Return when a process has written a line."""
        assert select.select([self._fd], [], [], PATIENCE_S)[0], "no process came"
        assert os.read(self._fd, 1), "the process is gone already"

    def wait_until_nobody(self) -> None:
        """Return when no process holds the FIFO."""
        deadline_s = time.monotonic() + PATIENCE_S
        while select.select([self._fd], [], [], max(0, deadline_s - time.monotonic()))[0]:
            if not os.read(self._fd, 65536):
                return
        pytest.fail("a process was left behind")

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._fd)


class Run:
    """`python -m local` on a directory, and what it prints."""

    def __init__(self, root: Path, **env: str) -> None:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SCALINGO_", "OPWATCH_", "REDIS_", "PORT"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local", "--root", str(root)],
            cwd=REPOSITORY,
            env=inherited | {"PYTHONPATH": str(REPOSITORY)} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.output: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as printed:
            for line in printed:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Return the first match after so many lines; the processes' lines come in any order."""
        for seen in self.output[since:]:
            if match := re.search(pattern, seen):
                return match
        while (line := self._next_line(pattern)) is not None:
            if match := re.search(pattern, line):
                return match
        pytest.fail(f"it ended without {pattern!r}:\n" + "\n".join(self.output))

    def end(self) -> int:
        """Return the exit code after its end, with all its output in `output`."""
        while self._next_line("its end") is not None:
            pass
        return self.process.wait(PATIENCE_S)

    def _next_line(self, what: str) -> str | None:
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            pytest.fail(f"still no {what} after {PATIENCE_S} s:\n" + "\n".join(self.output))
        if line is not None:
            self.output.append(line)
        return line

    def __enter__(self) -> Self:
        """Return itself, already started."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Alive]:
    fifo = Alive(tmp_path)
    yield fifo
    fifo.close()


@pytest.fixture
def lines() -> list[str]:
    """Collect what children print."""
    return []


@pytest.fixture
def child(tmp_path: Path, lines: list[str]) -> Iterator[Callable[[str], Child]]:
    """Make children that run a shell command; none outlives the test."""
    made: list[Child] = []

    def make(command: str) -> Child:
        made.append(Child("web", ("/bin/sh", "-c", command), cwd=tmp_path, env=os.environ, output=lines.append))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@contextmanager
def client(valkey: Valkey) -> Iterator["redis.Redis"]:
    connection = redis.Redis.from_url(valkey.url)
    yield connection
    connection.close()


def make_root(directory: Path, web: str, worker: str) -> Path:
    """Make a directory with a Procfile whose processes write to the FIFO `alive`."""
    (directory / "web.py").write_text(WEB)
    says_so = "exec 9>alive && echo >&9"
    (directory / "Procfile").write_text(f"web: {says_so} && {web}\nworker: {says_so} && {worker}\n")
    return directory


# The Procfile


def test_reads_what_the_procfile_says(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(
        "# comment\n\nweb: exec gunicorn -b :$PORT 'a:b()'\nworker:  exec python -m x \n"
    )
    assert read_procfile(tmp_path / "Procfile") == {
        "web": "exec gunicorn -b :$PORT 'a:b()'",
        "worker": "exec python -m x",
    }


@pytest.mark.parametrize("text", ["worker: a\nweb exec gunicorn", "worker: a\nweb:"])
def test_says_what_the_procfile_lacks(tmp_path: Path, text: str) -> None:
    (tmp_path / "Procfile").write_text(f"{text}\n")
    with pytest.raises(LocalError, match=r"does not say how to run web$"):
        read_procfile(tmp_path / "Procfile")


def test_says_that_there_is_no_procfile(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        read_procfile(tmp_path / "Procfile")


# Valkey


def test_valkey_keeps_its_data_over_a_stop_and_over_a_crash(tmp_path: Path) -> None:
    directory = tmp_path / "deep 'directory'" / ("d" * 200)
    with Valkey(directory, appendfsync="always") as valkey, client(valkey) as connection:
        first = valkey.pid
        connection.set("a", "1")
        valkey.stop()
        valkey.start()
        assert connection.get("a") == b"1"
        connection.set("b", "2")
        valkey.kill()
        valkey.start()
        assert connection.mget("a", "b") == [b"1", b"2"]
        assert connection.config_get("appendfsync", "maxmemory-policy", "save") == {
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
        }
        assert valkey.pid != first


def test_only_this_user_can_reach_valkey_and_no_socket_is_left_behind(tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        place = Path(valkey.url.removeprefix("unix://").partition("?")[0]).parent
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    del valkey
    gc.collect()
    assert not place.exists()


def test_refuses_to_run_two_valkeys_on_one_directory(tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        with pytest.raises(TooLateError, match="another Valkey uses it"):
            Valkey(tmp_path).start()
        assert valkey.ready()
    with Valkey(tmp_path):
        pass


def test_says_why_valkey_died(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("This is no directory.")
    with pytest.raises(LocalError, match=r"(?s)valkey ended with code 1; its last output.*appendonlydir"):
        Valkey(tmp_path).start()


# Children and their output


def test_passes_on_every_line_of_each_run_of_a_child(child: Callable[[str], Child], lines: list[str]) -> None:
    web = child("seq 20000; printf 'bad \\377' >&2; exit 3")
    web.start()
    wait_until(lambda: not web.alive)
    assert lines == [*(str(number) for number in range(1, 20001)), "bad �"]
    with pytest.raises(LocalError, match=r"^web ended with code 3$"):
        web.check()
    web.start()
    wait_until(lambda: not web.alive)
    assert len(lines) == 2 * 20001


def test_a_child_may_finish_after_sigterm(child: Callable[[str], Child], alive: Alive, lines: list[str]) -> None:
    web = child("trap 'echo finished; exit 7' TERM; echo >alive; while :; do sleep 0.01; done")
    web.start()
    alive.wait_until_somebody()
    web.stop()
    assert web.poll() == 7
    assert lines == ["finished"]


def test_stop_kills_the_whole_group_of_a_child_that_does_not_listen(
    child: Callable[[str], Child], alive: Alive
) -> None:
    web = child("trap '' TERM; exec 9>alive; sh -c 'echo >&9; sleep 60; :' & wait; sleep 60")
    web.start()
    alive.wait_until_somebody()
    web.stop(grace_s=0.1)
    with pytest.raises(LocalError, match=r"^web was killed by signal 9 \(Killed\)$"):
        web.check()
    alive.wait_until_nobody()


def test_what_a_dead_child_leaves_behind_is_ended(child: Callable[[str], Child], alive: Alive) -> None:
    web = child("exec 9>alive; sleep 60 & echo >&9; kill -9 $$")
    web.start()
    alive.wait_until_somebody()
    wait_until(lambda: not web.alive)
    alive.wait_until_nobody()


# Settings


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    port = str(free_port())
    (tmp_path / ".env").write_text(f"PORT=1\nSCALINGO_API_TOKEN_EU=tk-us-x\nREDIS_URL=\nPYTHONUNBUFFERED=\nA={port}\n")
    settings = read_settings(
        tmp_path, {"PORT": port, "LOG_FORMAT": "json", "OPWATCH_TOKENS": "look:x:read,ci:secret,b:other"}
    )
    expected = {"PORT": port, "PYTHONUNBUFFERED": "1", "LOG_FORMAT": "json", "A": port}
    assert {name: settings.env[name] for name in expected} == expected
    assert f"ci:{settings.token}" == "ci:secret"
    assert (settings.brings_valkey, settings.uses_standin) == (True, False)
    assert "secret" not in repr(settings)
    assert not (tmp_path / "var").exists()


def test_makes_a_token_once(tmp_path: Path) -> None:
    first, second = (read_settings(tmp_path, {"PORT": str(free_port())}) for _ in range(2))
    assert first.token == second.token
    assert len(first.token) >= 32
    assert first.env["OPWATCH_TOKENS"] == f"local:{first.token}"
    assert stat.S_IMODE((tmp_path / "var" / "token").stat().st_mode) == 0o600
    assert (first.brings_valkey, first.uses_standin) == (True, True)


def test_says_that_the_port_is_taken_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=rf"port {port} is in use; .*PORT=8001 make run"):
            read_settings(tmp_path, {"PORT": str(port)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "1.5"])
def test_refuses_a_port_that_is_none(tmp_path: Path, port: str) -> None:
    with pytest.raises(LocalError, match="PORT must be a number from 1 to 65535"):
        read_settings(tmp_path, {"PORT": port})


# The whole


def test_runs_the_service_until_ctrl_c_and_leaves_nothing_behind(tmp_path: Path, alive: Alive) -> None:
    root = make_root(tmp_path, "exec python web.py", "echo worker up && exec sleep 60")
    with Run(root, PORT=str(free_port())) as run:
        standin = run.wait_for(r"^api    \| listening on (http://127.0.0.1:\d+)$")[1]
        web = run.wait_for(r"^web    \| web (\d+) (\S+) (unix:\S+)$")
        assert web[2] == standin
        samples = [("shop", "operations"), ("blog", "operations"), ("cart", "deployments")]
        assert all(run.wait_for(rf"^web    \| tracking {app} {standin}/v1/apps/\w+/{path}/") for app, path in samples)
        run.wait_for(r"^local  \| tracking a deployment of cart, which fails in 9 s$")
        run.wait_for(r"^curl .*/restart \| OPWATCH_URL=\S+ OPWATCH_TOKEN=\w+ bin/opwatch track - --wait$")
        run.wait_for(r"^curl .*/v1/operations/osc-fr1-[\w-]+$")
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0
    alive.wait_until_nobody()
    assert not Path(web[3].removeprefix("unix://").partition("?")[0]).exists()
    with Valkey(root / "var" / "standin"):
        pass  # no other process has it


def admin(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m admin` as in another terminal, with no settings."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "admin", *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_admin_finds_the_settings_beside_it_and_says_so_when_there_are_none(tmp_path: Path, alive: Alive) -> None:
    root, kept = make_root(tmp_path, "exec python web.py", "exec python -m workers"), tmp_path / "var" / "run.json"
    (root / ".env").write_text("SLACK_WEBHOOK_URL=https://hooks.slack.com/services/T/B/x\n")
    with Run(root, PORT=str(free_port()), OPWATCH_X="of the shell") as run:
        run.wait_for(r"worker started")
        run.wait_for(r"^curl ")
        listed, previewed = admin(root, "list"), admin(root, "preview", "slack")
        assert (listed.returncode, listed.stderr) == (previewed.returncode, previewed.stderr) == (0, "")
        assert json.loads(previewed.stdout)["blocks"]
        assert (stat.S_IMODE(kept.stat().st_mode), "of the shell" in kept.read_text()) == (0o600, False)
        shutil.copy(kept, root / "left")
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0
    alive.wait_until_nobody()
    assert not kept.exists()
    shutil.copy(root / "left", kept)  # as if it had been killed
    ran = admin(root, "list")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("No settings are given, and no `make run` runs in this folder. Start it, or ")


@pytest.mark.parametrize(
    ("dying", "said"),
    [
        ("exec python web.py", r"^local  \| worker ended with code 0$"),
        ("echo OPWATCH_X is wrong && exit 2", r"^local  \| web ended with code 2$"),
    ],
)
def test_when_one_process_ends_all_end(tmp_path: Path, alive: Alive, dying: str, said: str) -> None:
    root = make_root(tmp_path, dying, "sleep 2")
    with Run(root, PORT=str(free_port()), **CONFIGURED) as run:
        assert run.end() == 1
    run.wait_for(said)
    assert run.output[-1] == "local  | everything has stopped"
    alive.wait_until_nobody()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda var: (var / "token").mkdir(parents=True), "cannot run here: Is a directory: .*/var/token$"),
        (lambda var: var.write_text(""), "cannot run here: .*/var"),
        (lambda var: (var.mkdir(), (var / "token").write_bytes(b"\xff")), "must be UTF-8$"),
        (lambda var: (var.parent / ".env").write_bytes(b"A=\xff"), "must be UTF-8$"),
        (lambda var: (var.mkdir(), (var / "standin").write_text("")), "cannot run here: File exists: .*/var/standin"),
        (lambda var: (var / "standin" / "valkey.log").mkdir(parents=True), "cannot run here: Is a directory: .*y.log"),
    ],
)
def test_what_it_cannot_write_is_said_in_a_sentence(tmp_path: Path, spoil: Callable[[Path], object], said: str) -> None:
    root = make_root(tmp_path, "exec python web.py", "exec sleep 60")
    spoil(root / "var")
    with Run(root, PORT=str(free_port())) as run:
        assert run.end() == 1
    run.wait_for(said)
    assert all(line.startswith("local  | ") for line in run.output)


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", ">/dev/full 2>&1"])
def test_it_runs_until_ctrl_c_though_nobody_can_read_it(tmp_path: Path, alive: Alive, streams: str) -> None:
    root = make_root(tmp_path, "exec python web.py", "exec sleep 60")
    run = f"exec {sys.executable} -m local --root {root} {streams}"
    env = {**os.environ, **CONFIGURED, "PORT": str(free_port())}
    with subprocess.Popen(["/bin/sh", "-c", run], cwd=REPOSITORY, env=env, start_new_session=True) as running:
        alive.wait_until_somebody()
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE_S) == 0
    alive.wait_until_nobody()


def test_when_valkey_dies_all_end(tmp_path: Path, alive: Alive) -> None:
    root = make_root(tmp_path, "exec python web.py", "exec sleep 60")
    with Run(root, PORT=str(free_port()), **ACCOUNT) as run:
        url = run.wait_for(r"^web    \| web \d+ \S+ (unix:\S+)$")[1]
        with redis.Redis.from_url(url) as connection:
            os.kill(connection.info("server")["process_id"], signal.SIGKILL)
        assert run.end() == 1
    run.wait_for(r"^local  \| valkey was killed by signal 9")
    alive.wait_until_nobody()


def test_ctrl_c_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    root = make_root(tmp_path, "exec sleep 60", "exec sleep 60")
    with Run(root, PORT=str(free_port())) as run:
        run.wait_for("an embedded Valkey keeps its data")
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0
    assert not any(line.startswith("web") for line in run.output)
    with Valkey(root / "var" / "standin"):
        pass


def test_a_second_ctrl_c_hurries(tmp_path: Path, alive: Alive) -> None:
    root = make_root(tmp_path, "trap '' TERM && sleep 60", "trap '' TERM && echo up && sleep 60")
    with Run(root, PORT=str(free_port()), **CONFIGURED) as run:
        run.wait_for("up$")
        run.process.send_signal(signal.SIGINT)
        run.wait_for("stopping")
        time.sleep(0.6)  # two signals within half a second count as one
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 130
    alive.wait_until_nobody()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent was killed")
def test_no_orphan_is_left_when_it_is_killed(tmp_path: Path, alive: Alive) -> None:
    root = make_root(tmp_path, "exec python web.py", "exec sleep 60")
    with Run(root, PORT=str(free_port())) as run:
        run.wait_for("^curl")
        socket_url = run.wait_for(r"^web    \| web \d+ \S+ (unix:\S+)$")[1]
        alive.wait_until_somebody()
        run.process.kill()
        alive.wait_until_nobody()
    with Valkey(root / "var" / "standin"):
        pass
    shutil.rmtree(Path(urlsplit(socket_url).path).parent)  # no process was left to remove it
