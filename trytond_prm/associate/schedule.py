# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""Arithmetic of the instalments that pay a price; no model here.

A price of 48,000.00 at 5 % per year in four quarters of constant principal,
anchored on 2007-10-31 and counted 30E/360:

    due date    principal   interest    outstanding
    2008-01-31  12,000.00     600.00      36,000.00
    2008-04-30  12,000.00     450.00      24,000.00
    2008-07-31  12,000.00     300.00      12,000.00
    2008-10-31  12,000.00     150.00           0.00

Due dates are counted from the anchor and not from each other, otherwise the
end of a short month would shift all the following ones.
Rounding is left to the caller because it belongs to the currency.
"""
from decimal import Decimal
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from ..tools import split

__all__ = [
    'DAY_COUNTS', 'METHODS', 'Row', 'annuity', 'balance', 'compute',
    'count_days', 'due_dates', 'interest']

_BASES = {
    '30e_360': 360,
    'act_365': 365,
    'act_360': 360,
    }
DAY_COUNTS = list(_BASES)
METHODS = ['constant_principal', 'annuity', 'bullet']


class Row(NamedTuple):
    kind: str
    due_date: object
    principal: Decimal
    interest: Decimal
    outstanding_after: Decimal

    @property
    def amount(self):
        return self.principal + self.interest


def count_days(start, end, day_count):
    """Return the days of interest from start to end

    30E/360 counts each month for 30 days, the 31st being the 30th.
    """
    if day_count == '30e_360':
        return (
            (end.year - start.year) * 360
            + (end.month - start.month) * 30
            + min(end.day, 30) - min(start.day, 30))
    elif day_count in _BASES:
        return (end - start).days
    raise ValueError("unknown day count %r" % day_count)


def _factor(rate, start, end, day_count):
    return rate * count_days(start, end, day_count) / _BASES[day_count]


def interest(principal, rate, start, end, day_count, round_):
    """Return the simple interest of principal from start to end

    The rate is per year, 0.05 being 5 %.
    """
    if not rate:
        return round_(Decimal(0))
    return round_(
        principal * rate * count_days(start, end, day_count)
        / _BASES[day_count])


def due_dates(anchor, count, months):
    "Return count dates, each some months after the anchor"
    return [
        anchor + relativedelta(months=i * months)
        for i in range(1, count + 1)]


def annuity(principal, rate, anchor, dates, day_count, round_):
    """Return the constant amount that pays the principal and its interest

    It is principal / Σ d(i) with d(i) = Π 1 / (1 + rate × days / basis) over
    the periods up to i, which is the usual formula when all the periods have
    the same length.
    """
    discount, total = Decimal(1), Decimal(0)
    start = anchor
    for date in dates:
        discount /= 1 + _factor(rate, start, date, day_count)
        total += discount
        start = date
    return round_(principal / total)


def _principals(method, principal, rate, anchor, dates, day_count, round_):
    count = len(dates)
    if method == 'bullet':
        return [round_(Decimal(0))] * (count - 1) + [principal]
    elif method == 'constant_principal' or (method == 'annuity' and not rate):
        principals = split(principal, count, round_)
        if principals[-1] >= 0:
            return principals
        # The rounding of so little could repay more than the price
        part, principals = principals[0], []
        for _ in range(count):
            principals.append(min(part, principal))
            principal -= principals[-1]
        return principals
    elif method != 'annuity':
        raise ValueError("unknown method %r" % method)
    amount = annuity(principal, rate, anchor, dates, day_count, round_)
    principals, outstanding, start = [], principal, anchor
    for date in dates[:-1]:
        part = amount - interest(
            outstanding, rate, start, date, day_count, round_)
        part = min(max(part, round_(Decimal(0))), outstanding)
        principals.append(part)
        outstanding -= part
        start = date
    return principals + [outstanding]


def balance(anchor, principals, rate, day_count, round_, total=None):
    """Return the rows of dated principals with interest and outstanding

    principals is a list of (kind, due date, principal) by due date; total is
    what they pay, their sum by default.
    """
    if total is None:
        total = sum((p for _, _, p in principals), Decimal(0))
    rows, outstanding, start = [], total, anchor
    for kind, date, principal in principals:
        amount = interest(outstanding, rate, start, date, day_count, round_)
        outstanding -= principal
        rows.append(Row(kind, date, principal, amount, outstanding))
        start = date
    return rows


def compute(
        total, count, months, anchor, round_, method='constant_principal',
        rate=Decimal(0), day_count='30e_360', advance=Decimal(0)):
    """Return the rows that pay total

    The advance is due at the anchor, the rest in count instalments each some
    months after the anchor.
    """
    if count < 1 or months < 1:
        raise ValueError(
            "cannot pay in %r instalments of %r months" % (count, months))
    if not 0 <= advance <= total:
        raise ValueError("cannot advance %s of %s" % (advance, total))
    dates = due_dates(anchor, count, months)
    rest = total - advance
    principals = []
    if advance:
        principals.append(('advance', anchor, advance))
    if rest or not advance:
        parts = _principals(
            method, rest, rate, anchor, dates, day_count, round_)
        kind = 'balance' if advance and count == 1 else 'instalment'
        principals.extend((kind, d, p) for d, p in zip(dates, parts))
    return balance(anchor, principals, rate, day_count, round_)
