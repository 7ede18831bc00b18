# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import given
from hypothesis import strategies as st

from trytond.modules.prm.trytond_prm.associate import schedule

ANCHOR = dt.date(2007, 10, 31)

prices = st.decimals(min_value=0, max_value=10 ** 9, places=2)
rates = st.decimals(min_value=0, max_value=1, places=4)
counts = st.integers(min_value=1, max_value=60)
periods = st.integers(min_value=1, max_value=12)
anchors = st.dates(dt.date(1990, 1, 1), dt.date(2090, 12, 31))
methods = st.sampled_from(schedule.METHODS)
day_counts = st.sampled_from(schedule.DAY_COUNTS)


def cents(value):
    return value.quantize(Decimal('0.01'), ROUND_HALF_EVEN)


def table(rows):
    return [' '.join(map(str, [
                    r.due_date, r.principal, r.interest, r.amount,
                    r.outstanding_after]))
        for r in rows]


class ScheduleTestCase(unittest.TestCase):
    "Test schedule"
    maxDiff = None

    def test_equal(self):
        "The price and its parts are rounded to even"
        price = cents(350 * Decimal('28.5699'))

        rows = schedule.compute(price, 4, 1, ANCHOR, cents)

        self.assertEqual(table(rows), [
                '2007-11-30 2499.86 0.00 2499.86 7499.60',
                '2007-12-31 2499.86 0.00 2499.86 4999.74',
                '2008-01-31 2499.86 0.00 2499.86 2499.88',
                '2008-02-29 2499.88 0.00 2499.88 0.00',
                ])

    def test_constant_principal(self):
        "Interest is paid on the outstanding principal"
        rows = schedule.compute(
            Decimal('48000.00'), 4, 3, ANCHOR, cents, rate=Decimal('0.05'))

        self.assertEqual(table(rows), [
                '2008-01-31 12000.00 600.00 12600.00 36000.00',
                '2008-04-30 12000.00 450.00 12450.00 24000.00',
                '2008-07-31 12000.00 300.00 12300.00 12000.00',
                '2008-10-31 12000.00 150.00 12150.00 0.00',
                ])

    def test_constant_principal_actual(self):
        "Interest counts the actual days"
        rows = schedule.compute(
            Decimal('48000.00'), 4, 3, ANCHOR, cents, rate=Decimal('0.05'),
            day_count='act_365')

        self.assertEqual([r.interest for r in rows], [
                Decimal('604.93'), Decimal('443.84'), Decimal('302.47'),
                Decimal('151.23')])
        self.assertEqual(sum(r.amount for r in rows), Decimal('49502.47'))

    def test_annuity(self):
        "The amounts of an annuity are equal but the last"
        rows = schedule.compute(
            Decimal('45000.00'), 4, 3, ANCHOR, cents, method='annuity',
            rate=Decimal('0.05'))

        self.assertEqual(table(rows), [
                '2008-01-31 11041.25 562.50 11603.75 33958.75',
                '2008-04-30 11179.27 424.48 11603.75 22779.48',
                '2008-07-31 11319.01 284.74 11603.75 11460.47',
                '2008-10-31 11460.47 143.26 11603.73 0.00',
                ])
        self.assertEqual(sum(r.interest for r in rows), Decimal('1414.98'))

    def test_bullet(self):
        "The principal of a bullet is paid with the last interest"
        rows = schedule.compute(
            Decimal('48000.00'), 2, 3, ANCHOR, cents, method='bullet',
            rate=Decimal('0.05'))

        self.assertEqual(table(rows), [
                '2008-01-31 0.00 600.00 600.00 48000.00',
                '2008-04-30 48000.00 600.00 48600.00 0.00',
                ])

    def test_early(self):
        "The interest of an early settlement counts the days until it"
        for day_count, amount in [
                ('30e_360', '225.00'), ('act_365', '216.99')]:
            with self.subTest(day_count=day_count):
                self.assertEqual(
                    schedule.interest(
                        Decimal('36000.00'), Decimal('0.05'),
                        dt.date(2008, 1, 31), dt.date(2008, 3, 15),
                        day_count, cents),
                    Decimal(amount))

    def test_advance(self):
        "The advance is due at the anchor without interest"
        for day_count, amount in [
                ('act_365', '928.22'), ('30e_360', '925.56')]:
            with self.subTest(day_count=day_count):
                rows = schedule.compute(
                    Decimal('100000.00'), 1, 4, ANCHOR, cents,
                    rate=Decimal('0.04'), day_count=day_count,
                    advance=Decimal('30000.00'))

                self.assertEqual(
                    [(r.kind, r.due_date, r.principal, r.interest)
                        for r in rows],
                    [('advance', ANCHOR,
                            Decimal('30000.00'), Decimal('0.00')),
                        ('balance', dt.date(2008, 2, 29),
                            Decimal('70000.00'), Decimal(amount)),
                        ])

    def test_foreign(self):
        "The last part takes the cent"
        rows = schedule.compute(
            Decimal('30000.01'), 2, 2, ANCHOR, cents,
            advance=Decimal('10000.00'))

        self.assertEqual(
            [(r.due_date, r.principal) for r in rows],
            [(dt.date(2007, 10, 31), Decimal('10000.00')),
                (dt.date(2007, 12, 31), Decimal('10000.00')),
                (dt.date(2008, 2, 29), Decimal('10000.01')),
                ])

    def test_count_days(self):
        "Each day count has its days"
        for start, end, day_count, days in [
                ('2008-01-31', '2008-02-29', '30e_360', 29),
                ('2008-02-29', '2008-03-31', '30e_360', 31),
                ('2007-10-31', '2007-12-31', '30e_360', 60),
                ('2007-10-31', '2007-12-31', 'act_365', 61),
                ('2008-01-31', '2008-03-16', '30e_360', 46),
                ('2008-01-31', '2008-03-15', '30e_360', 45),
                ('2008-01-31', '2008-03-15', 'act_360', 44),
                ]:
            with self.subTest(start=start, end=end, day_count=day_count):
                self.assertEqual(
                    schedule.count_days(
                        dt.date.fromisoformat(start),
                        dt.date.fromisoformat(end), day_count),
                    days)

    def test_unknown(self):
        "Unknown methods, day counts and impossible terms are refused"
        for message, terms in [
                ("unknown method 'balloon'", {'method': 'balloon'}),
                ("unknown day count '30_360'",
                    {'day_count': '30_360', 'rate': Decimal(1)}),
                ("cannot advance 11 of 10", {'advance': Decimal(11)}),
                ("cannot pay in 0 instalments of 1 months", {'count': 0}),
                ]:
            with self.subTest(message=message):
                terms = {
                    'total': Decimal(10), 'count': 1, 'months': 1,
                    'anchor': ANCHOR, 'round_': cents, **terms}
                with self.assertRaises(ValueError) as cm:
                    schedule.compute(**terms)
                self.assertEqual(str(cm.exception), message)

    @given(prices, counts, periods, anchors, methods, rates, day_counts,
        st.decimals(min_value=0, max_value=1, places=2))
    def test_closes(
            self, price, count, months, anchor, method, rate, day_count,
            share):
        "Any schedule pays the price to the cent"
        advance = cents(price * share)

        rows = schedule.compute(
            price, count, months, anchor, cents, method=method, rate=rate,
            day_count=day_count, advance=advance)

        self.assertEqual(sum(r.principal for r in rows), price)
        self.assertEqual(rows[-1].outstanding_after, 0)
        outstanding = price
        for row in rows:
            self.assertEqual(row.principal, cents(row.principal))
            self.assertEqual(row.interest, cents(row.interest))
            self.assertGreaterEqual(row.interest, 0)
            self.assertGreaterEqual(row.outstanding_after, 0)
            self.assertEqual(
                row.outstanding_after, outstanding - row.principal)
            outstanding = row.outstanding_after
        for row in rows[:-1]:
            self.assertGreaterEqual(row.principal, 0)

    @given(prices, counts, periods, anchors)
    def test_due_dates(self, price, count, months, anchor):
        "Due dates keep the day of the anchor"
        rows = schedule.compute(price, count, months, anchor, cents)

        for i, row in enumerate(rows, 1):
            month = anchor.month - 1 + i * months
            self.assertEqual(
                (row.due_date.year, row.due_date.month),
                (anchor.year + month // 12, month % 12 + 1))
            if row.due_date.day != anchor.day:
                self.assertEqual(
                    (row.due_date + dt.timedelta(days=1)).day, 1)
