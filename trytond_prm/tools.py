# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Arithmetic and SQL expressions that every room shares; no model here."
import datetime as dt
from contextlib import contextmanager
from decimal import ROUND_HALF_EVEN, Decimal

from sql import Cast, Expression, Literal, Null, Table
from sql.aggregate import Sum
from sql.conditionals import Case, Coalesce
from sql.functions import (
    Abs, AtTimeZone, DateTrunc, Extract, Function, Round, Substring)
from sql.operators import Concat

from trytond import backend
from trytond.tools import timezone as tz
from trytond.transaction import Transaction

# SQLite sums in floating point; amounts are summed there as integers of
# this scale, which holds up to 9e12 units exactly.
_SCALE = 10 ** 6


def to_date(value):
    "The date of a SQL expression, which SQLite gives as a text"
    return dt.date.fromisoformat(value) if isinstance(value, str) else value


def to_decimal(value):
    "The Decimal of a SQL expression, which SQLite gives as a float"
    return Decimal(str(value))


class Inline(Expression):
    """A constant string written in the text of the SQL

    SQLite has no native partial index for a condition with parameters.
    """
    __slots__ = ('_value',)

    def __init__(self, value):
        assert "'" not in value and '%' not in value
        self._value = value

    def __str__(self):
        return "'%s'" % self._value

    @property
    def params(self):
        return ()


@contextmanager
def savepoint():
    "Take back what the block wrote when it fails"
    transaction = Transaction()
    connection = transaction.connection
    cursor = connection.cursor()
    if (backend.name == 'sqlite'
            and not getattr(connection, 'in_transaction', True)):
        # The release of the first savepoint would commit
        cursor.execute('BEGIN IMMEDIATE')
    records = {k: list(v) for k, v in transaction.create_records.items()}
    tasks = list(transaction.tasks)
    cursor.execute('SAVEPOINT prm')
    try:
        yield
    except BaseException:
        cursor.execute('ROLLBACK TO SAVEPOINT prm')
        for cache in list(transaction.cache.values()):
            cache.clear()
        transaction.create_records.clear()
        transaction.create_records.update(records)
        transaction.tasks[:] = tasks
        raise
    finally:
        cursor.execute('RELEASE SAVEPOINT prm')


def split(total, count, round_):
    """Return count parts of total whose sum is exactly total

    Each part is round_(total / count), the last one takes the remainder.
    """
    if count < 1:
        raise ValueError("cannot split into %r parts" % count)
    part = round_(total / count)
    return [part] * (count - 1) + [total - part * (count - 1)]


def spread(total, shares, round_):
    """Return one part of total for each share, their sum exactly total

    Each part is round_(total * share), the remainder goes to the last part
    whose share is not zero.
    """
    parts = [round_(total * share) for share in shares]
    last = max((i for i, share in enumerate(shares) if share), default=None)
    if last is None:
        raise ValueError("cannot spread without any share")
    parts[last] += total - sum(parts)
    return parts


def sql_month(column):
    "SQL expression of the first day of the month of a date or datetime"
    month = DateTrunc('month', column)
    if backend.name == 'sqlite':
        # SQLite has no date to cast to
        return Substring(month, 1, 10)
    return Cast(month, 'DATE')


class _Date(Function):
    __slots__ = ()
    _function = 'DATE'


def sql_next_year(month):
    "SQL expression of the same month, by its first day, of the next year"
    if backend.name == 'sqlite':
        return _Date(month, '+1 year')
    return Cast(month + Cast('1 year', 'INTERVAL'), 'DATE')


def sql_hours(duration):
    "SQL expression of the hours of a duration"
    if backend.name == 'sqlite':
        return duration / Literal(3600.0)
    return Cast(Extract('EPOCH', duration), 'NUMERIC') / 3600


def sql_exact(expression):
    "SQL amount that sums and subtracts exactly: an integer on SQLite"
    if backend.name == 'sqlite':
        return Cast(Round(expression * _SCALE), 'INTEGER')
    return expression


def sql_amount(expression):
    "SQL amount from a sum or a difference of sql_exact"
    if backend.name == 'sqlite':
        return expression / Literal(float(_SCALE))
    return expression


def sql_ratio(numerator, denominator, digits=4):
    """SQL ratio of two sql_exact, null unless the denominator is positive

    It is not rounded without digits.
    """
    if backend.name == 'sqlite':
        numerator = numerator * Literal(1.0)
    ratio = numerator / denominator
    if digits is not None:
        ratio = Round(ratio, digits)
    return Case((denominator > 0, ratio), else_=Null)


def sql_sum(expression):
    "SQL sum of amounts, exact also on SQLite"
    return sql_amount(Sum(sql_exact(expression)))


def sql_reference(model, id_):
    "SQL expression of the reference to the record, which an index finds"
    return Concat(f'{model},', Cast(id_, 'VARCHAR'))


def sql_invoiced(invoice):
    """SQL condition of the customer invoices that make the revenue

    An invoice cancelled by a credit note counts, as its credit note does.
    """
    cancelled = Table(invoice._name)
    move = Table('account_move')
    # Only the move of an invoice has an invoice as origin.
    # The query does not depend on the invoice so that it is run once.
    credited = (cancelled
        .join(move, condition=cancelled.cancel_move == move.id)
        .select(
            move.id,
            where=(cancelled.state == 'cancelled')
            & move.origin.like('account.invoice,%')))
    return (
        (invoice.type == 'out')
        & invoice.state.in_(['posted', 'paid', 'cancelled'])
        & ((invoice.state != 'cancelled')
            | invoice.cancel_move.in_(credited)))


def company_timezone(company):
    """Return the time zone of the company or else UTC

    It is the one of the day of ir.date.
    """
    if company and company.timezone:
        return tz.get_tzinfo(company.timezone)
    return tz.UTC


def local_date(timestamp, company):
    "Return the date of the UTC timestamp where the company is"
    return (timestamp.replace(tzinfo=tz.UTC)
        .astimezone(company_timezone(company)).date())


class _LocalDate(Function):
    __slots__ = ()
    _function = 'prm_local_date'


def _local_date(timestamp, zone):
    if timestamp is None:
        return
    timestamp = dt.datetime.fromisoformat(timestamp)
    if zone:
        timestamp = timestamp.replace(tzinfo=tz.UTC).astimezone(
            tz.get_tzinfo(zone))
    return timestamp.date().isoformat()


def sql_local_date(timestamp, zone):
    """SQL expression of the date of a UTC timestamp in the time zone

    Both are columns, the date is in UTC when the time zone is empty: it is
    the same as local_date.
    """
    if backend.name == 'sqlite':
        Transaction().connection.create_function(
            _LocalDate._function, 2, _local_date, deterministic=True)
        return _LocalDate(timestamp, zone)
    return Cast(
        AtTimeZone(AtTimeZone(timestamp, 'UTC'), Coalesce(zone, 'UTC')),
        'DATE')


class _Round(Function):
    __slots__ = ()
    _function = 'prm_round'


def _round(value, rounding):
    if value is None or rounding is None:
        return
    value, rounding = (
        Decimal(v.decode() if isinstance(v, bytes) else str(v))
        for v in [value, rounding])
    # Without the error of the floating point
    units = (value / rounding).quantize(1 / Decimal(_SCALE))
    return float(
        units.quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * rounding)


def sql_round(expression, rounding):
    "SQL expression rounded half-even like Currency.round"
    if backend.name == 'sqlite':
        # In SQL it would be too deep for the parser
        Transaction().connection.create_function(
            _Round._function, 2, _round, deterministic=True)
        return _Round(expression, rounding)
    units = expression / rounding
    # ROUND takes the halves away from zero
    return rounding * Case(
        (Abs(units - Round(units)) == Decimal('0.5'), Round(units / 2) * 2),
        else_=Round(units))
