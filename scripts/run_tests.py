# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Run the tests of the module on SQLite and on PostgreSQL"
import argparse
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

from cluster import cluster

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / '.cache'
DATABASES = ['sqlite', 'postgresql']
# The tests that open a browser bring their own database
BROWSER = 'tests.browser.'


def cache_key():
    "The digest of everything that an activated database depends on"
    digest = hashlib.sha256()
    for distribution in sorted({
                f'{d.name} {d.version}' for d in distributions()
                if re.match(r'trytond|python.sql', d.name or '')}):
        digest.update(distribution.encode())
    for folder in ['trytond_prm', 'view', 'locale', 'icons']:
        for path in sorted((ROOT / folder).rglob('*')):
            if path.is_file() and path.suffix != '.pyc':
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(path.read_bytes())
    for name in ['tryton.cfg', '__init__.py', 'tests/tools.py']:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def find_jobs(selection):
    "Find the test modules and the scenarios"
    jobs = []
    for path in sorted((ROOT / 'tests').rglob('test_*.py')):
        name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        if path.name == 'test_scenario.py':
            jobs.extend(f'{name}:{p.name}'
                for p in sorted(path.parent.glob('*.rst')))
        else:
            jobs.append(name)
    if not selection:
        return jobs
    selected = []
    for name in selection:
        name = name.removeprefix('./')
        path = name.replace('/', '.').removesuffix('.py')
        found = [j for j in jobs
            if path in {j, j.removeprefix('tests.')}
            or j.partition(':')[2].removesuffix('.rst')
            == Path(name).name.removesuffix('.rst')]
        if not found:
            # A class or a method of a module
            found = [path if path.startswith('tests.') else f'tests.{path}'
                for j in jobs
                if f'{path}.'.startswith(f'{j}.')
                or f'tests.{path}.'.startswith(f'{j}.')][:1]
        if not found:
            sys.exit(f"No test is named {name}")
        selected.extend(j for j in found if j not in selected)
    return selected


class Worker:
    "A process that runs tests on one kind of database"

    def __init__(self, env, timeout):
        self.timeout = timeout
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / 'scripts' / 'test_worker.py')],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=env, start_new_session=True)

    def run(self, job):
        try:
            self.process.stdin.write(json.dumps(job).encode() + b'\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        ready, _, _ = select.select(
            [self.process.stdout], [], [], self.timeout)
        line = self.process.stdout.readline() if ready else b''
        if line:
            return json.loads(line)
        self.stop(wait=0 if not ready else 5)
        reason = (f"stopped with status {self.process.poll()}" if ready
            else f"no answer after {self.timeout} seconds")
        return {
            'passed': 0,
            'failed': [f'{job} ({reason})'],
            'skipped': {},
            'time': 0,
            'output': '',
            }

    def stop(self, wait=5):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(wait)
        except subprocess.TimeoutExpired:
            pass
        for sig in [signal.SIGTERM, signal.SIGKILL]:
            try:
                os.killpg(self.process.pid, sig)
            except (ProcessLookupError, PermissionError):
                break
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                pass
        self.process.wait()


class Run:
    "The run of all the jobs in some workers at a time"

    def __init__(self, queues, environments, options):
        self.queues = queues
        self.environments = environments
        self.options = options
        self.total = sum(map(len, queues.values()))
        self.lock = threading.Lock()
        self.stopped = False
        self.workers = []
        self.results = []

    def next_job(self, database):
        with self.lock:
            if self.stopped:
                return
            for name in [database] + [
                    d for d in self.queues if d != database]:
                if self.queues.get(name):
                    return name, self.queues[name].pop(0)

    def slot(self, number, database):
        worker = current = None
        try:
            while job := self.next_job(database):
                database, name = job
                if current != database or worker.process.poll() is not None:
                    if worker:
                        worker.stop()
                    env = self.environments[database].copy()
                    if database != 'sqlite':
                        env['DB_NAME'] = f'test_{number}'
                    with self.lock:
                        if self.stopped:
                            return
                        worker = Worker(env, self.options.timeout)
                        self.workers.append(worker)
                    current = database
                result = worker.run(name)
                with self.lock:
                    if self.stopped:
                        return
                    self.results.append((database, name, result))
                    self.show(database, name, result)
        finally:
            if worker:
                worker.stop()

    def show(self, database, name, result):
        count = result['passed'] + len(result['failed'])
        state = 'FAILED' if result['failed'] else (
            'ok' if count else 'skipped')
        print(f"[{len(self.results):3}/{self.total}] {database:10} "
            f"{name.rpartition(':')[2]:44} {state:7} {count:4} tests "
            f"{result['time']:6.1f}s", flush=True)
        if result['failed']:
            print(result['output'], flush=True)
            if self.options.failfast:
                self.stopped = True

    def __call__(self):
        databases = list(self.queues)
        threads = [
            threading.Thread(
                target=self.slot, args=(i, databases[i % len(databases)]))
            for i in range(self.options.jobs)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(.2)
        finally:
            with self.lock:
                interrupted = any(t.is_alive() for t in threads)
                self.stopped = True
            if interrupted:
                for worker in self.workers:
                    worker.stop(wait=0)
            for thread in threads:
                thread.join()
        return self.results


def clean_cache(key):
    "Keep the databases of the last contents only"
    folders = sorted(
        (CACHE / 'databases').glob('*'), key=lambda p: p.stat().st_mtime)
    for folder in [f for f in folders if f.name != key][:-2]:
        shutil.rmtree(folder, ignore_errors=True)


def summary(results, databases, elapsed):
    counts = defaultdict(lambda: [0, 0, 0])
    for database, _, result in results:
        counts[database][0] += result['passed']
        counts[database][1] += len(result['failed'])
        counts[database][2] += len(result['skipped'])
    skipped = {
        (test, reason) for _, _, result in results
        for test, reason in result['skipped'].items()}
    print()
    for test, reason in sorted(skipped):
        print(f"skipped: {test}: {reason}")
    for database, _, result in results:
        for test in result['failed']:
            print(f"failed on {database}: {test}")
    for database in databases:
        passed, failed, skipped = counts[database]
        print(f"{databases[database]}: "
            f"passed={passed} failed={failed} skipped={skipped}")
    print(f"in {elapsed:.0f} seconds")
    return [sum(c) for c in zip(*counts.values())] or [0, 0, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('tests', nargs='*', metavar='TEST',
        help="module, class or method below tests, or scenario")
    parser.add_argument('-d', '--database', choices=DATABASES,
        action='append', help="run on this database only")
    parser.add_argument('-j', '--jobs', type=int,
        default=max(os.cpu_count() or 1, 2),
        help="number of tests that run at the same time [%(default)s]")
    parser.add_argument('-f', '--failfast', action='store_true',
        help="stop at the first failure")
    parser.add_argument('-t', '--timeout', type=int, default=1800,
        help="seconds that a test module may take [%(default)s]")
    options = parser.parse_args()
    databases = options.database or DATABASES

    for sig in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
        signal.signal(sig, signal.default_int_handler)

    start = time.monotonic()
    jobs = find_jobs(options.tests)
    CACHE.mkdir(exist_ok=True)
    durations_file = CACHE / 'durations.json'
    try:
        durations = json.loads(durations_file.read_text())
    except (OSError, ValueError):
        durations = {}

    def expected(job):
        # The longest first, as the shortest fill the end better
        return -durations.get(job, 60)

    queues = {
        d: sorted(
            (j for j in jobs if d == 'sqlite' or not j.startswith(BROWSER)),
            key=expected)
        for d in databases}

    key = cache_key()
    clean_cache(key)
    cache = CACHE / 'databases' / key
    cache.mkdir(parents=True, exist_ok=True)
    os.utime(cache)

    env = {k: v for k, v in os.environ.items()
        if not k.startswith(('TRYTOND_', 'DB_', 'PG'))}
    env['PYTHONWARNINGS'] = env.get('PYTHONWARNINGS', 'ignore')

    def run(environments, titles):
        results = Run(queues, environments, options)()
        for _, job, result in results:
            durations[job] = max(result['time'], .1)
        durations_file.write_text(json.dumps(durations, indent=1))
        return summary(results, titles, time.monotonic() - start)

    with tempfile.TemporaryDirectory(prefix='prm-test-') as tmp:
        environments = {}
        titles = {}
        for database in databases:
            locks = Path(tmp) / database
            locks.mkdir()
            environments[database] = env | {
                'PRM_TEST_LOCKS': str(locks),
                'TMPDIR': tmp,
                }
        if 'sqlite' in databases:
            import sqlite3
            titles['sqlite'] = f"SQLite {sqlite3.sqlite_version}"
            environments['sqlite'].update(
                TRYTOND_DATABASE_URI='sqlite://', DB_CACHE=str(cache),
                # The synchronization of the caches would set the only
                # connection to autocommit in the middle of a test
                TRYTOND_CACHE__CLEAN_TIMEOUT='86400')
        print(f"{len(jobs)} test modules and scenarios on "
            f"{' and '.join(databases)}, {options.jobs} at a time",
            flush=True)
        if 'postgresql' in databases:
            # CI starts without cache and nobody takes it up
            keep = None if os.environ.get('CI') == 'true' else cache
            with cluster(cache=keep) as (uri, version):
                titles['postgresql'] = version
                environments['postgresql'].update(
                    TRYTOND_DATABASE_URI=f'{uri}/',
                    DB_CACHE='postgresql://')
                counts = run(environments, titles)
        else:
            counts = run(environments, titles)
    passed, failed, skipped = counts
    if not passed and not failed:
        print("No test was run")
    line = f"{passed} passed, {failed} failed"
    if skipped:
        line += f", {skipped} skipped"
    print(line, flush=True)
    return bool(failed or not passed)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Interrupted")
        sys.exit(130)
