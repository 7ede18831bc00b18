# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Show the progress of commands (standard library only)"
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager


@contextmanager
def group(*args, **kwargs):
    "Run a process in its own group, which ends with the block"
    process = subprocess.Popen(*args, start_new_session=True, **kwargs)
    try:
        yield process
    finally:
        for sig, timeout in [
                (signal.SIGTERM, 10), (signal.SIGKILL, None)]:
            try:
                os.killpg(process.pid, sig)
            except (ProcessLookupError, PermissionError):
                pass
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                continue
            break


@contextmanager
def spinner(label):
    "Show the label, the elapsed time and the given last word"
    terminal = sys.stdout.isatty()
    start = time.monotonic()
    state = {'word': ''}
    stop = threading.Event()

    def show():
        for i in range(10 ** 9):
            elapsed = int(time.monotonic() - start)
            line = f'{"|/-" + chr(92)}'[i % 4] + f' {label} {elapsed}s '
            try:
                columns = os.get_terminal_size().columns
            except OSError:
                columns = 80
            line += state['word'][:max(columns - len(line) - 1, 0)]
            print(f'\r\033[K{line}', end='', flush=True)
            if stop.wait(.2):
                break

    if terminal:
        thread = threading.Thread(target=show, daemon=True)
        thread.start()
    else:
        print(f'{label}...', flush=True)

    def say(word):
        state['word'] = word

    mark = "failed"
    try:
        yield say
        mark = "done"
    finally:
        stop.set()
        if terminal:
            thread.join()
            print('\r\033[K', end='')
        elapsed = time.monotonic() - start
        print(f'{label}: {mark} in {elapsed:.0f}s', flush=True)


def run(label, command, **kwargs):
    "Run the command behind a spinner and show its output if it fails"
    output = []
    with spinner(label) as say:
        with group(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors='replace',
                **kwargs) as process:
            for line in process.stdout:
                output.append(line)
                if line.strip():
                    say(line.strip())
            code = process.wait()
        if code:
            sys.stdout.write('\n' + ''.join(output))
            raise subprocess.CalledProcessError(code, command)
    return ''.join(output)
