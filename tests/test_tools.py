# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from sql import Cast, Literal, Select, Table

from trytond import backend
from trytond.modules.prm.trytond_prm.tools import (
    local_date, split, spread, sql_local_date, sql_month, sql_sum)
from trytond.pool import Pool
from trytond.tests.test_tryton import activate_module, with_transaction
from trytond.transaction import Transaction

from .tools import count_statements

amounts = st.decimals(
    min_value=-10 ** 9, max_value=10 ** 9, places=2)


def cents(value):
    return value.quantize(Decimal('0.01'))


class ToolsTestCase(unittest.TestCase):
    "Test tools"

    @given(amounts, st.integers(min_value=1, max_value=120))
    def test_split(self, total, count):
        "A split has equal parts but the last and sums to the total"
        parts = split(total, count, cents)

        self.assertEqual(sum(parts), total)
        self.assertEqual(len(parts), count)
        self.assertLessEqual(set(parts[:-1]), {cents(total / count)})

    def test_split_remainder(self):
        "The last part takes the remainder"
        self.assertEqual(
            split(Decimal('9999.46'), 4, cents),
            [Decimal('2499.86')] * 3 + [Decimal('2499.88')])

    @given(amounts, st.lists(
            st.integers(min_value=0, max_value=100),
            min_size=1, max_size=24).filter(any))
    def test_spread(self, total, weights):
        "A spread sums to the total and gives nothing to empty shares"
        shares = [Decimal(w) / sum(weights) for w in weights]

        parts = spread(total, shares, cents)

        self.assertEqual(sum(parts), total)
        for share, part in zip(shares, parts):
            if not share:
                self.assertEqual(part, 0)

    def test_spread_without_share(self):
        "Nothing can be spread without any share"
        with self.assertRaises(ValueError):
            spread(Decimal(1), [Decimal(0)], cents)


class ToolsSQLTestCase(unittest.TestCase):
    "Test SQL tools"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')

    @with_transaction()
    def test_sql_sum(self):
        "The SQL sum is exact"
        pool = Pool()
        Currency = pool.get('currency.currency')
        Rate = pool.get('currency.currency.rate')
        currency = Currency(
            name="Test", symbol='T', code='TST',
            rounding=Decimal('0.01'), digits=2)
        currency.save()
        Rate.create([{
                    'currency': currency.id,
                    'date': f'2000-01-{d:02}',
                    'rate': Decimal('0.1'),
                    } for d in range(1, 31)])
        rate = Rate.__table__()
        cursor = Transaction().connection.cursor()

        cursor.execute(*rate.select(
                Rate.rate.sql_cast(sql_sum(rate.rate)).as_('rate'),
                where=rate.currency == currency.id))
        result, = cursor.fetchone()

        self.assertEqual(Decimal(str(result)), Decimal('3.0'))

    @with_transaction()
    def test_sql_month(self):
        "The month is its first day"
        cursor = Transaction().connection.cursor()

        for value in [
                dt.date(2008, 2, 29), dt.datetime(2008, 2, 1, 23, 59)]:
            cursor.execute(*Select([sql_month(
                            Cast(Literal(value), 'TIMESTAMP')
                            if backend.name != 'sqlite' else Literal(value)
                            )]))
            result, = cursor.fetchone()

            self.assertEqual(str(result), '2008-02-01')

    @with_transaction()
    def test_sql_local_date(self):
        "The local date is the one of the time zone, UTC by default"
        cursor = Transaction().connection.cursor()
        moment = Literal(dt.datetime(2008, 5, 31, 22, 30))
        if backend.name != 'sqlite':
            moment = Cast(moment, 'TIMESTAMP')

        for zone, date in [
                ('Europe/Paris', '2008-06-01'),
                ('America/New_York', '2008-05-31'),
                (None, '2008-05-31'),
                ]:
            cursor.execute(*Select([
                        sql_local_date(moment, Cast(zone, 'VARCHAR'))]))
            result, = cursor.fetchone()

            self.assertEqual(str(result), date)
            self.assertEqual(
                local_date(
                    dt.datetime(2008, 5, 31, 22, 30), Mock(timezone=zone)
                    ).isoformat(),
                date)

    @with_transaction()
    def test_count_statements(self):
        "The statements of a block are counted"
        with count_statements() as statements:
            cursor = Transaction().connection.cursor()
            table = Table('ir_module')
            cursor.execute(*table.select(table.id))

        self.assertEqual(len(statements), 1)
