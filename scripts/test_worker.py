# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""Run the tests that run_tests.py asks for, one JSON line each

The tests of a worker run in the same process, one after the other."""
import fcntl
import hashlib
import io
import itertools
import json
import os
import signal
import sys
import tempfile
import time
import unittest
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE = 'prm'


class Result(unittest.TextTestResult):
    "Count each test once, whatever the number of its subtests"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.failed = set()
        self.passed = set()
        self.skips = {}

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed.add(test.id())

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.passed.add(test.id())

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.failed.add(test.id())

    def addError(self, test, err):
        super().addError(test, err)
        self.failed.add(test.id())

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed.add(test.id())

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.failed.add(test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skips[test.id()] = reason


@contextmanager
def cache_lock(name):
    "Let one process only fill an entry of the cache of databases"
    folder = Path(os.environ['PRM_TEST_LOCKS'])
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    with open(folder / digest, 'w') as fp:
        fcntl.flock(fp, fcntl.LOCK_EX)
        yield


def share_cache():
    """Make the cache of databases safe between workers

    The modules that extend the tested one are activated on a copy of the
    database on which only this one is.
    Also keep the database before each set up function of a scenario, such
    that the modules are activated once for all of them."""
    from trytond.tests import test_tryton, tools

    activate_module = test_tryton.activate_module

    def base_activate_module(modules, lang='en'):
        modules = sorted([modules] if isinstance(modules, str) else modules)
        with cache_lock('-'.join(modules)):
            if (modules != [MODULE] and MODULE in modules and lang == 'en'
                    and not test_tryton.db_exist(test_tryton.DB_NAME)
                    and not test_tryton.restore_db_cache('-'.join(modules))):
                base_activate_module(MODULE)
            return activate_module(modules, lang=lang)

    def chained_activate_modules(modules, *setup):
        if isinstance(modules, str):
            modules = [modules]
        name = '-'.join(sorted(modules))
        names = [name + (
                '--' + '|'.join(map(tools._func_name, setup[:i])) if i else '')
            for i in range(len(setup) + 1)]
        for i in range(len(setup), -1, -1):
            with cache_lock(names[i]):
                if tools.restore_db_cache(names[i]):
                    config = tools._get_config()
                    break
        else:
            i = 0
            test_tryton.drop_db()
            base_activate_module(modules)
            config = tools._get_config()
        for i in range(i, len(setup)):
            setup[i](config=config)
            with cache_lock(names[i + 1]):
                tools.backup_db_cache(names[i + 1])
        return config

    test_tryton.activate_module = base_activate_module
    tools.activate_modules = chained_activate_modules


def share_pools():
    "Set up the models once for all the databases of the same modules"
    from sql import Table

    from trytond.pool import Pool
    from trytond.transaction import Transaction

    init = Pool.init
    pools = {}

    def find_modules(database):
        ir_module = Table('ir_module')
        with Transaction().start(
                database, 0, readonly=True) as transaction:
            cursor = transaction.connection.cursor()
            cursor.execute(*ir_module.select(
                    ir_module.name, ir_module.state,
                    where=ir_module.state != 'not activated'))
            states = dict(cursor)
        if set(states.values()) == {'activated'}:
            return frozenset(states)

    def shared_init(self, update=None, **kwargs):
        modules = None
        if not update and not any(kwargs.values()):
            modules = find_modules(self.database_name)
        if modules in pools:
            with self._lock:
                self._pool, self._modules = pools[modules]
                self._pools[self.database_name] = self._pool
                self._pool_modules[self.database_name] = self._modules
                self._pool_instances.clear()
                self._pool_instances.add(self)
                self.ready = True
        else:
            init(self, update=update, **kwargs)
            if modules:
                pools[modules] = self._pool, self._modules

    Pool.init = shared_init


def analyze_catalog():
    """Let PostgreSQL know how many tables it has while they are created

    Without autovacuum it plans the queries of Tryton on its catalog as if
    there were none, which takes most of the time of the activation."""
    from trytond import backend
    from trytond.transaction import Transaction

    if backend.name != 'postgresql':
        return
    init = backend.TableHandler._init
    count = itertools.count()

    def analyze_init(self, *args, **kwargs):
        if next(count) % 50 == 0:
            Transaction().connection.cursor().execute(
                'ANALYZE pg_attribute, pg_class, pg_constraint, pg_depend, '
                'pg_index')
        init(self, *args, **kwargs)

    backend.TableHandler._init = analyze_init


def lock_at_once():
    """Lock what a test locks without to run the test from its start again

    Nobody else is connected to the database of a test in a transaction.
    The tests of concurrency start their transactions themselves."""
    from trytond.tests import test_tryton
    from trytond.transaction import Transaction

    with_transaction = test_tryton.with_transaction

    def lock_table(transaction, table):
        if table not in transaction._locked_tables:
            transaction.database.lock(transaction.connection, table)
            transaction._locked_tables.add(table)

    def lock_records(transaction, table, ids):
        if table not in transaction._locked_tables:
            transaction.database.lock_records(
                transaction.connection, table, ids)

    def with_locks(user=1, context=None):
        def decorator(func):
            @wraps(func)
            def wrapper(*args, **kwargs):
                transaction = Transaction()
                transaction.lock_table = partial(lock_table, transaction)
                transaction.lock_records = partial(lock_records, transaction)
                return func(*args, **kwargs)
            return with_transaction(user=user, context=context)(wrapper)
        return decorator

    test_tryton.with_transaction = with_locks


def load(job):
    loader = unittest.TestLoader()
    name, _, scenario = job.partition(':')
    if not scenario:
        return loader.loadTestsFromName(name)
    loader.testNamePatterns = [scenario]
    module = __import__(name, fromlist=['load_tests'])
    return module.load_tests(loader, unittest.TestSuite(), None)


def disconnect():
    "Close the sessions that another test left on the PostgreSQL database"
    from trytond import backend
    from trytond.tests.test_tryton import DB_NAME
    from trytond.transaction import Transaction

    if backend.name != 'postgresql':
        return
    with Transaction().start(
            None, 0, close=True, autocommit=True) as transaction:
        transaction.connection.cursor().execute(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
            'WHERE datname = %s AND pid <> pg_backend_pid()', (DB_NAME,))


def run(job):
    disconnect()
    start = time.monotonic()
    stream = io.TextIOWrapper(
        os.fdopen(os.dup(2), 'wb', 0), write_through=True)
    suite = load(job)
    runner = unittest.TextTestRunner(
        stream=stream, resultclass=Result, verbosity=0)
    runner.buffer = False
    result = runner.run(suite)
    stream.close()
    skips = {k: v for k, v in result.skips.items() if k not in result.failed}
    return {
        'passed': len(result.passed - result.failed - set(skips)),
        'failed': sorted(result.failed),
        'skipped': skips,
        'time': time.monotonic() - start,
        }


def main():
    # Leave the blocks of the tests when the worker is stopped
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    channel = os.fdopen(os.dup(1), 'w')
    jobs = os.fdopen(os.dup(0), 'r')
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    started = False
    for line in jobs:
        job = json.loads(line)
        with tempfile.TemporaryFile() as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            try:
                if not started:
                    started = True
                    share_cache()
                    share_pools()
                    analyze_catalog()
                    lock_at_once()
                answer = run(job)
            except Exception as exception:
                import traceback
                traceback.print_exc()
                answer = {
                    'passed': 0,
                    'failed': [f'{job} ({exception!r})'],
                    'skipped': {},
                    'time': 0,
                    }
            sys.stdout.flush()
            sys.stderr.flush()
            output.seek(0)
            answer['output'] = output.read().decode(errors='replace')
        channel.write(json.dumps(answer) + '\n')
        channel.flush()


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
