# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from contextlib import contextmanager
from copy import copy
from functools import wraps
from types import SimpleNamespace

from trytond.model import Model
from trytond.modules import get_module_info
from trytond.modules.company.tests import create_company, set_company
from trytond.pool import Pool
from trytond.tests.test_tryton import (
    DB_NAME, activate_module, drop_db, with_transaction)
from trytond.transaction import Transaction, TransactionError

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


class SharedMixin:
    """Activate the modules and commit what all the tests of the class share

    The default is a company."""
    modules = ['prm']

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        drop_db()
        cls.addClassCleanup(drop_db)
        activate_module(cls.modules)
        extras = {}
        while True:
            with Transaction().start(DB_NAME, 1, **extras) as transaction:
                try:
                    company = create_company()
                    with set_company(company):
                        cls.shared = cls.create_shared(company)
                except TransactionError as error:
                    transaction.rollback()
                    error.fix(extras)
                    continue
                transaction.commit()
            break

    @classmethod
    def create_shared(cls, company):
        "Return an object whose attributes are the records"
        return SimpleNamespace(company=company)


def with_shared(func):
    "Run the test with what is shared, in a transaction that is rolled back"
    @wraps(func)
    @with_transaction()
    def wrapper(self, *args, **kwargs):
        pool = Pool()
        User = pool.get('res.user')
        shared = copy(self.shared)
        with Transaction().set_context(
                User.get_preferences(context_only=True)):
            for name, value in vars(shared).items():
                if isinstance(value, Model):
                    setattr(shared, name, pool.get(value.__name__)(value.id))
            return func(self, shared, *args, **kwargs)
    return wrapper


def get_company():
    "Return the company that is shared"
    pool = Pool()
    Company = pool.get('company.company')
    company, = Company.search([], order=[('id', 'ASC')], limit=1)
    return company
