"""The bars of the workbench, measured in a real pseudo-terminal: the first frame, keys, bytes, memory.

    cargo build --release && python3 benches/workbench.py target/release/afterthought [--presses 1000]

Prints a table in Markdown. The toy project has one short finished run; for the rows "while two runs train" two more go on
beside the workbench, one a core. A key counts from its bytes written into the terminal to the first bytes that move the
cursor of the table. What was read before the first frame is asked of strace, where there is one. Linux only: memory is read
from /proc. Nothing here is a test; on a machine with other work its numbers are those of that machine.
"""

import argparse
import fcntl
import os
import pathlib
import pty
import random
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import tempfile
import termios
import time

FRAME_BEGINS, FRAME_ENDS = b"\x1b[?2026h", b"\x1b[?2026l"
CURSOR = "▸".encode()


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, command, columns=120, rows=34):
        self.begun = time.perf_counter()
        self.process, self.master = pty.fork()
        if self.process == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            for name in ("SSH_CONNECTION", "SSH_TTY", "NO_COLOR", "TMUX"):
                environment.pop(name, None)
            os.execvpe(command[0], command, environment)

    def read(self, seconds):
        """What comes within so many seconds, at once when there is something."""
        ready, _, _ = select.select([self.master], [], [], max(seconds, 0))
        return os.read(self.master, 1 << 16) if ready else b""

    def wait(self, wanted, patience=60):
        """Reads until `wanted` has come; gives all bytes and the time of the last."""
        seen, end = b"", time.perf_counter() + patience
        while wanted not in seen:
            if time.perf_counter() > end:
                raise SystemExit(f"waited for {wanted!r}; the last bytes are {seen[-400:]!r}")
            seen += self.read(0.5)
        return seen, time.perf_counter()

    def drain(self, seconds):
        """Counts the bytes of so many seconds."""
        count, end = 0, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            count += len(self.read(left))
        return count

    def rest(self):
        """Waits until nothing is sent any more."""
        while self.drain(2.5):
            pass

    def press(self, keys):
        os.write(self.master, keys.encode())

    def memory(self):
        """Resident and proportional memory, in MB."""
        text = pathlib.Path(f"/proc/{self.process}/smaps_rollup").read_text()
        return [int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1]) * 1024 / 1e6 for name in ("Rss", "Pss")]

    def end(self):
        os.kill(self.process, signal.SIGTERM)
        end = time.perf_counter() + 5
        while os.waitpid(self.process, os.WNOHANG)[0] == 0:
            if time.perf_counter() > end:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                break
            try:
                # What it says last must be taken, or it waits.
                self.read(0.05)
            except OSError:
                time.sleep(0.05)
        os.close(self.master)


def run(program, project, *arguments):
    subprocess.run([program, "-C", project, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def first_frame(command, times):
    """Milliseconds from the start of the process to its first bytes and to the end of its first frame."""
    bytes_at, frame_at = [], []
    for _ in range(times):
        terminal = Terminal(command)
        seen = terminal.read(10)
        bytes_at.append((time.perf_counter() - terminal.begun) * 1e3)
        if FRAME_ENDS not in seen:
            terminal.wait(FRAME_ENDS)
        frame_at.append((time.perf_counter() - terminal.begun) * 1e3)
        terminal.end()
    return bytes_at, frame_at


def read_before(command, project):
    """The files of the project that were opened before the first frame was written; None without strace."""
    if not shutil.which("strace"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        terminal = Terminal(["strace", "-f", "-s", "100", "-e", "trace=open,openat,write", "-o", log, *command])
        terminal.wait(FRAME_ENDS)
        terminal.end()
        opened = []
        for line in pathlib.Path(log).read_text(errors="replace").splitlines():
            if "write(1" in line and "?2026h" in line:
                break
            if re.search(r"open(at)?\(", line) and str(project) in line and "ENOENT" not in line:
                opened.append(re.search(r'"([^"]*)"', line)[1])
        return opened


def latency(terminal, presses, seed=7):
    """Milliseconds from a key to the bytes that move the cursor of the table."""
    numbers, times = random.Random(seed), []
    place = 0
    for _ in range(presses):
        terminal.drain(numbers.uniform(0.015, 0.12))
        down = place == 0 or (place < 8 and numbers.random() < 0.5)
        place += 1 if down else -1
        begun = time.perf_counter()
        terminal.press("j" if down else "k")
        _, at = terminal.wait(CURSOR)
        times.append((at - begun) * 1e3)
    return times


def quantiles(times):
    times = sorted(times)
    return statistics.median(times), times[len(times) * 99 // 100], times[-1]


def browse(terminal):
    """Looks at every pane and its faces, so that all that is loaded when it is needed is loaded."""
    for keys in ["jjj", "H", "\x1b", "2", "t", "t", "3", "h", "b", "\x1b", "\x1b", "4", "l", "o", "o", "L", "L", "5", "1"]:
        terminal.press(keys)
        terminal.drain(0.7)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--presses", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=20)
    options = parser.parse_args()
    program = str(options.program.resolve())
    rows = []

    def say(what, value, bar=""):
        rows.append((what, value, bar))
        print(f"  {what}: {value}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        project = os.path.join(folder, "toy")
        run(program, ".", "init", project)
        run(program, project, "train", "--set", "training.steps=200")
        workbench = [program, "-C", project]
        bytes_at, frame_at = first_frame(workbench, options.starts)
        say("first bytes, median (worst)", f"{statistics.median(bytes_at):.1f} ms ({max(bytes_at):.1f})")
        say("first frame, median (worst)", f"{statistics.median(frame_at):.1f} ms ({max(frame_at):.1f})", "50 ms")
        opened = read_before(workbench, project)
        said = "not looked at: no strace" if opened is None else ", ".join(opened) or "none"
        say("files of the project opened before it", said, "none")

        terminal = Terminal(workbench, 200, 60)
        terminal.rest()
        say("bytes in 10 s in which nothing happens", terminal.drain(10), "0")
        say("key to bytes, idle: median, p99, worst",
            "{:.1f}, {:.1f}, {:.1f} ms".format(*quantiles(latency(terminal, options.presses))), "5 and 16 ms")
        browse(terminal)
        terminal.rest()
        say("memory after all panes: resident, proportional", "{:.1f}, {:.1f} MB".format(*terminal.memory()), "60 MB")
        terminal.end()

        settings = ["--set", "training.steps=1000000", "--set", "evaluation.every=end"]
        for _ in range(2):
            run(program, project, "train", "--detach", *settings)
        time.sleep(3)
        terminal = Terminal([*workbench, "--fresh"], 200, 60)
        terminal.drain(3)
        say("key to bytes while two runs train: median, p99, worst",
            "{:.1f}, {:.1f}, {:.1f} ms".format(*quantiles(latency(terminal, options.presses))), "5 and 16 ms")
        terminal.drain(3)
        say("bytes a second while two runs train", f"{terminal.drain(10) / 10:.0f}")
        say("memory while two runs train: resident, proportional", "{:.1f}, {:.1f} MB".format(*terminal.memory()))
        terminal.end()
        terminal = Terminal([*workbench, "--fresh", "--line", "ssh"], 200, 60)
        terminal.drain(8)
        say("the same with `--line ssh`", f"{terminal.drain(10) / 10:.0f}", "4096")
        terminal.end()
        for directory in sorted(pathlib.Path(project, "runs").iterdir()):
            subprocess.run([program, "-C", project, "runs", "stop", directory.name], capture_output=True)
        time.sleep(2)

    print("\n| | measured | bar |\n|---|---|---|")
    for what, value, bar in rows:
        print(f"| {what} | {value} | {bar} |")


if __name__ == "__main__":
    main()
