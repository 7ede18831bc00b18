# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from contextlib import contextmanager

from trytond.modules import get_module_info
from trytond.transaction import Transaction

# The same list for all the tests so that they share one activated database
ALL_MODULES = ['prm', *get_module_info('prm')['extras_depend']]


class _Proxy:

    def __init__(self, target, statements):
        self._target = target
        self._statements = statements

    def __getattr__(self, name):
        return getattr(self._target, name)

    def __enter__(self):
        self._target.__enter__()
        return self

    def __exit__(self, *args):
        return self._target.__exit__(*args)


class _Cursor(_Proxy):

    def __iter__(self):
        return iter(self._target)

    def execute(self, query, *args, **kwargs):
        self._statements.append(str(query))
        return self._target.execute(query, *args, **kwargs)


class _Connection(_Proxy):

    def cursor(self, *args, **kwargs):
        return _Cursor(
            self._target.cursor(*args, **kwargs), self._statements)


@contextmanager
def count_statements():
    "Give the list of the SQL statements that the block executes"
    transaction = Transaction()
    connection = transaction.connection
    statements = []
    transaction.connection = _Connection(connection, statements)
    try:
        yield statements
    finally:
        transaction.connection = connection
