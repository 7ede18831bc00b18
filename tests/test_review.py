# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
import unittest.mock
from decimal import Decimal

from trytond.modules.account.tests import create_chart, get_fiscalyear
from trytond.modules.company.tests import create_company, set_company
from trytond.modules.prm.trytond_prm.review.exceptions import (
    ReviewClosedError, ReviewNotOverWarning, ReviewPeriodError)
from trytond.pool import Pool
from trytond.tests.test_tryton import activate_module, with_transaction
from trytond.transaction import Transaction

from .tools import count_statements

D = Decimal
H1 = dt.date(2008, 1, 1), dt.date(2008, 6, 30)


def date(value):
    return dt.date.fromisoformat(value)


def setup_account(company, *years):
    "Create a chart and the fiscal years with a period by month"
    FiscalYear = Pool().get('account.fiscalyear')
    create_chart(company)
    fiscalyears = []
    for year in years:
        fiscalyear = get_fiscalyear(company, today=dt.date(year, 1, 1))
        fiscalyear.save()
        fiscalyears.append(fiscalyear)
    FiscalYear.create_period(fiscalyears)
    return fiscalyears


def post_revenue(company, when, amount, origin=None, post=True):
    "Post a move on the revenue account"
    pool = Pool()
    Account = pool.get('account.account')
    Journal = pool.get('account.journal')
    Line = pool.get('account.move.line')
    Move = pool.get('account.move')
    Period = pool.get('account.period')
    revenue, = Account.search([
            ('type.revenue', '=', True), ('closed', '!=', True),
            ('company', '=', company.id)],
        limit=1)
    cash, = Account.search([
            ('code', '=', '1.1.1'), ('company', '=', company.id)], limit=1)
    journal, = Journal.search([('code', '=', 'REV')], limit=1)
    when = date(when)
    amount = D(amount)
    debit, credit = max(amount, 0), max(-amount, 0)
    move = Move(
        company=company, journal=journal, date=when, origin=origin,
        period=Period.find(company, date=when),
        lines=[
            Line(account=cash, debit=debit, credit=credit),
            Line(account=revenue, debit=credit, credit=debit)])
    move.save()
    if post:
        Move.post([move])
    return move


def interact(company, when, sentiment, population='staff', state='done'):
    pool = Pool()
    Channel = pool.get('prm.channel')
    Interaction = pool.get('prm.interaction')
    channel, = Channel.search([], limit=1)
    interaction, = Interaction.create([{
                'company': company.id,
                'channel': channel.id,
                'population': population,
                'party': (
                    company.party.id if population != 'staff' else None),
                'date': dt.datetime.fromisoformat(when),
                'sentiment': sentiment,
                'state': state,
                }])
    return interaction


def get_months(**context):
    "Return the months of review by date"
    Month = Pool().get('prm.review.month')
    with Transaction().set_context(**context):
        return {m.date.strftime('%Y-%m'): m for m in Month.search([])}


def new_review(company, start_date=H1[0], end_date=H1[1], **values):
    Review = Pool().get('prm.review')
    review, = Review.create([{
                'company': company.id,
                'name': values.pop('name', "Half-year"),
                'start_date': start_date,
                'end_date': end_date,
                **values,
                }])
    return review


class ReviewTestCase(unittest.TestCase):
    "Test the review"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')

    @with_transaction()
    def test_ledger_revenue(self):
        "The revenue is the one of the posted moves but the closing ones"
        company = create_company()
        with set_company(company):
            fiscalyear, _ = setup_account(company, 2007, 2008)
            post_revenue(company, '2007-12-31', '100.10')
            post_revenue(company, '2007-12-31', '0.20')
            post_revenue(company, '2008-01-01', '50.05')
            post_revenue(company, '2008-01-31', '-0.15')
            post_revenue(company, '2008-02-01', '7', post=False)
            post_revenue(
                company, '2007-12-31', '-100.30', origin=str(fiscalyear))

            months = get_months()

            self.assertEqual(list(months), ['2008-01', '2007-12'])
            december = months['2007-12']
            self.assertEqual(december.gross_revenue, D('100.30'))
            self.assertEqual(december.ledger_revenue, D('100.30'))
            self.assertEqual(december.net_revenue, D('100.30'))
            self.assertEqual(december.imputed_revenue, D('100.30'))
            self.assertEqual(december.concessions, 0)
            self.assertEqual(december.concession_rate, 0)
            self.assertEqual(december.buyback_paid, 0)
            self.assertEqual(december.actual, 0)
            self.assertEqual(december.target, None)
            self.assertEqual(december.interactions, 0)
            self.assertEqual(december.tension, None)
            self.assertEqual(december.currency, company.currency)
            self.assertEqual(december.rec_name, '2007-12')
            self.assertEqual(months['2008-01'].gross_revenue, D('49.90'))

    @with_transaction()
    def test_month_context(self):
        "With dates in the context only what lies within is counted"
        company = create_company()
        with set_company(company):
            setup_account(company, 2008)
            post_revenue(company, '2008-01-14', '1')
            post_revenue(company, '2008-01-15', '2')
            post_revenue(company, '2008-02-15', '4')
            post_revenue(company, '2008-02-16', '8')
            post_revenue(company, '2008-03-01', '16')
            interact(company, '2008-01-14 23:59', 0)
            interact(company, '2008-01-15 00:00', 0)

            months = get_months(
                start_date=date('2008-01-15'), end_date=date('2008-02-15'))

            self.assertEqual(
                {n: m.gross_revenue for n, m in months.items()},
                {'2008-01': 2, '2008-02': 4})
            self.assertEqual(months['2008-01'].interactions, 1)

    @with_transaction()
    def test_month_companies(self):
        "The companies never mix"
        company1, company2 = create_company(), create_company("Other")
        for company, amount in [(company1, '1'), (company2, '2')]:
            with set_company(company):
                setup_account(company, 2008)
                post_revenue(company, '2008-01-31', amount)
        Month = Pool().get('prm.review.month')

        months = Month.search([])

        self.assertEqual(len({m.id for m in months}), 2)
        self.assertEqual(
            {m.company: m.gross_revenue for m in months},
            {company1: 1, company2: 2})

    @with_transaction()
    def test_tension(self):
        "The tension is the share of interactions done that went badly"
        company = create_company()
        with set_company(company):
            for sentiment in [-2, -1, 0, 2, None]:
                interact(company, '2008-01-10 10:00', sentiment)
            interact(company, '2008-01-10 10:00', -1, 'customer')
            interact(company, '2008-01-10 10:00', 0, 'customer')
            interact(company, '2008-01-10 10:00', 0, 'customer')
            interact(company, '2008-01-10 10:00', -2, 'customer', 'planned')
            interact(
                company, '2008-01-10 10:00', -2, 'customer', 'cancelled')

            month = get_months()['2008-01']

            self.assertEqual(month.interactions, 8)
            self.assertEqual(month.tension, D('0.375'))
            self.assertEqual(month.tension_staff, D('0.4'))
            self.assertEqual(month.tension_customer, D('0.3333'))
            self.assertEqual(month.tension_partner, None)

    @with_transaction()
    def test_interaction_timezone(self):
        "The month of an interaction is the one where the company is"
        company = create_company()
        with set_company(company):
            interact(company, '2008-05-31 22:30', 0)
            interact(company, '2008-01-31 22:30', 0)
            self.assertEqual(list(get_months()), ['2008-05', '2008-01'])
            company.timezone = 'Europe/Paris'
            company.save()

            self.assertEqual(list(get_months()), ['2008-06', '2008-01'])
            self.assertEqual(
                list(get_months(start_date=date('2008-06-01'))), ['2008-06'])
            self.assertEqual(
                list(get_months(end_date=date('2008-05-31'))), ['2008-01'])

    @with_transaction()
    def test_month_statement(self):
        "The months take one statement"
        company = create_company()
        with set_company(company):
            setup_account(company, 2008)
            for month in range(1, 13):
                post_revenue(company, f'2008-{month:02}-01', '1')
            Month = Pool().get('prm.review.month')

            with count_statements() as statements:
                months = Month.search([])
                amount = sum(m.imputed_revenue for m in months)

            self.assertEqual(amount, 12)
            self.assertEqual(len(statements), 1)

    @with_transaction()
    def test_default_dates(self):
        "A review is by default the one of the last half-year"
        Review = Pool().get('prm.review')
        for today, start, end, compare_start, compare_end in [
                ('2008-01-01', '2007-07-01', '2007-12-31',
                    '2007-01-01', '2007-06-30'),
                ('2008-06-30', '2007-07-01', '2007-12-31',
                    '2007-01-01', '2007-06-30'),
                ('2008-07-01', '2008-01-01', '2008-06-30',
                    '2007-07-01', '2007-12-31'),
                ('2008-12-31', '2008-01-01', '2008-06-30',
                    '2007-07-01', '2007-12-31'),
                ]:
            with self.subTest(today=today), \
                    unittest.mock.patch.object(
                        Pool().get('ir.date'), 'today',
                        return_value=date(today)):
                self.assertEqual(Review.default_start_date(), date(start))
                self.assertEqual(Review.default_end_date(), date(end))
                self.assertEqual(
                    Review.default_compare_start_date(), date(compare_start))
                self.assertEqual(
                    Review.default_compare_end_date(), date(compare_end))

    @with_transaction()
    def test_comparison(self):
        "The compared period is the one before or of last year"
        Review = Pool().get('prm.review')
        for comparison, start, end, compare_start, compare_end in [
                ('previous', '2008-01-01', '2008-06-30',
                    '2007-07-01', '2007-12-31'),
                ('last_year', '2008-01-01', '2008-06-30',
                    '2007-01-01', '2007-06-30'),
                ('previous', '2008-03-01', '2008-03-31',
                    '2008-02-01', '2008-02-29'),
                ('last_year', '2008-02-01', '2008-02-29',
                    '2007-02-01', '2007-02-28'),
                ('last_year', '2009-02-01', '2009-02-28',
                    '2008-02-01', '2008-02-29'),
                ('previous', '2008-01-08', '2008-01-14',
                    '2008-01-01', '2008-01-07'),
                ]:
            with self.subTest(comparison=comparison, start=start):
                review = Review(
                    comparison=comparison,
                    start_date=date(start), end_date=date(end))
                review.on_change_comparison()
                self.assertEqual(
                    review.compare_start_date, date(compare_start))
                self.assertEqual(review.compare_end_date, date(compare_end))

    @with_transaction()
    def test_create_comparison(self):
        "A review created with dates is compared with the period before"
        company = create_company()

        review = new_review(company)

        self.assertEqual(review.compare_start_date, date('2007-07-01'))
        self.assertEqual(review.compare_end_date, date('2007-12-31'))
        without = new_review(
            company, compare_start_date=None, compare_end_date=None)
        self.assertEqual(without.compare_start_date, None)
        self.assertEqual(without.compare_net_revenue, None)

    @with_transaction()
    def test_comparison_incomplete(self):
        "A comparison needs its two dates"
        company = create_company()
        with self.assertRaises(ReviewPeriodError) as cm:
            new_review(
                company, comparison='other',
                compare_start_date=date('2007-01-01'), compare_end_date=None)
        self.assertEqual(
            cm.exception.message,
            'The comparison of review "Half-year" misses one of its dates.\n'
            'Fill both dates or clear both.')

    @with_transaction()
    def test_figures(self):
        "A review has the figures of its period and of the compared one"
        company = create_company()
        with set_company(company):
            setup_account(company, 2007, 2008)
            post_revenue(company, '2007-07-01', '1')
            post_revenue(company, '2007-12-31', '2')
            post_revenue(company, '2008-01-01', '4')
            post_revenue(company, '2008-06-30', '8')
            post_revenue(company, '2008-07-01', '16')
            interact(company, '2008-06-30 23:59', -1)
            interact(company, '2008-07-01 00:00', 0)

            review = new_review(company)

            self.assertEqual(review.gross_revenue, 12)
            self.assertEqual(review.net_revenue, 12)
            self.assertEqual(review.imputed_revenue, 12)
            self.assertEqual(review.compare_imputed_revenue, 3)
            self.assertEqual(review.interactions, 1)
            self.assertEqual(review.tension, 1)
            self.assertEqual(review.compare_tension, None)
            self.assertEqual(review.target, None)
            self.assertEqual(review.attainment, None)
            self.assertEqual(
                [(m.date, m.gross_revenue) for m in review.months],
                [(date('2008-01-01'), 4), (date('2008-06-01'), 8)])

    @with_transaction()
    def test_differences(self):
        "Revenue without invoice explains the difference of the actual"
        company = create_company()
        with set_company(company):
            setup_account(company, 2008)
            move = post_revenue(company, '2008-01-01', '4')
            post_revenue(company, '2008-07-01', '16')
            review = new_review(company)

            difference, = review.differences

            self.assertEqual(difference.origin, move)
            self.assertEqual(difference.kind, 'invoice')
            self.assertEqual(difference.ledger_amount, 4)
            self.assertEqual(difference.figure_amount, 0)
            self.assertEqual(difference.amount, -4)
            self.assertEqual(review.net_difference, 0)
            self.assertEqual(review.actual_difference, -4)
            self.assertEqual(review.unexplained, 0)

    @with_transaction()
    def test_close(self):
        "A closed review keeps its figures and tells what changed since"
        pool = Pool()
        Review = pool.get('prm.review')
        company = create_company()
        with set_company(company):
            setup_account(company, 2007, 2008)
            post_revenue(company, '2007-12-31', '2')
            post_revenue(company, '2008-01-01', '4')
            interact(company, '2008-01-01 10:00', -1)
            review = new_review(company)

            Review.close([review])
            self.assertEqual(review.state, 'closed')
            self.assertTrue(review.closed_at)
            self.assertFalse(review.changed)
            self.assertEqual(review.changes, '')
            post_revenue(company, '2008-06-30', '0.50')
            post_revenue(company, '2007-12-01', '1')
            review = Review(review.id)

            self.assertEqual(review.gross_revenue, 4)
            self.assertEqual(review.compare_gross_revenue, 2)
            self.assertEqual(review.tension, 1)
            self.assertEqual(review.months, ())
            self.assertEqual(
                [(m.date, m.gross_revenue) for m in review.closed_months],
                [(date('2008-01-01'), 4)])
            self.assertEqual(
                [d.amount for d in review.differences], [-4])
            self.assertEqual(review.unexplained, 0)
            self.assertTrue(review.changed)
            self.assertEqual(review.changes.split('\n'), [
                    "Ledger Revenue: usd4.00 → usd4.50",
                    "Gross Revenue: usd4.00 → usd4.50",
                    "Net Revenue: usd4.00 → usd4.50",
                    "Imputed Revenue: usd4.00 → usd4.50",
                    "Ledger Revenue (comparison): usd2.00 → usd3.00",
                    "Gross Revenue (comparison): usd2.00 → usd3.00",
                    "Net Revenue (comparison): usd2.00 → usd3.00",
                    "Imputed Revenue (comparison): usd2.00 → usd3.00",
                    ])

            Review.draft([review])
            review = Review(review.id)

            self.assertEqual(review.gross_revenue, D('4.50'))
            self.assertEqual(review.closed_at, None)
            self.assertEqual(review.snapshots, ())
            self.assertEqual(review.changed, False)
            self.assertEqual(
                [(log.resource, log.target)
                    for log in Transaction().log_records
                    if log.event == 'transition'],
                [(review, 'state:closed'), (review, 'state:draft')])

    @with_transaction()
    def test_closed_modification(self):
        "A closed review and its findings cannot change"
        pool = Pool()
        Finding = pool.get('prm.review.finding')
        Review = pool.get('prm.review')
        company = create_company()
        review = new_review(company)
        finding, = Finding.create([{
                    'review': review.id, 'kind': 'positive', 'text': "Yes"}])
        Review.close([review])
        modify = (
            'You cannot modify review "Half-year" because it is closed.\n'
            'To change it, first reopen it.')
        for function, message in [
                (lambda: Review.write([review], {'name': "Other"}), modify),
                (lambda: Review.delete([review]),
                    'You cannot delete review "Half-year" because it is '
                    'closed.\nTo delete it, first reopen it.'),
                (lambda: Finding.write([finding], {'text': "No"}), modify),
                (lambda: Finding.delete([finding]), modify),
                (lambda: Finding.create([{
                                'review': review.id, 'kind': 'negative',
                                'text': "No"}]), modify),
                ]:
            with self.assertRaises(ReviewClosedError) as cm:
                function()
            self.assertEqual(cm.exception.message, message)

    @with_transaction()
    def test_close_early(self):
        "Closing a period that is not over warns"
        Review = Pool().get('prm.review')
        company = create_company()
        today = Pool().get('ir.date').today()
        review = new_review(company, start_date=today, end_date=today)

        with self.assertRaises(ReviewNotOverWarning) as cm:
            Review.close([review])
        self.assertTrue(cm.exception.message.startswith(
                'The period of review "Half-year" ends only on '))

    @with_transaction()
    def test_copy(self):
        "The copy of a closed review is a draft"
        Review = Pool().get('prm.review')
        company = create_company()
        with set_company(company):
            setup_account(company, 2008)
            post_revenue(company, '2008-01-01', '4')
            review = new_review(company)
            Review.close([review])

            copy, = Review.copy([review])

            self.assertEqual(copy.state, 'draft')
            self.assertEqual(copy.closed_at, None)
            self.assertEqual(copy.snapshots, ())
            self.assertEqual(copy.closed_differences, ())
            self.assertEqual(len(copy.differences), 1)

    @with_transaction()
    def test_statements(self):
        "Reading and closing many reviews takes as much as a few"
        Review = Pool().get('prm.review')
        company = create_company()
        names = [
            n for n, f in Review._fields.items()
            if n not in {'last_modified_at'}]
        counts = []
        with set_company(company):
            setup_account(company, 2007, 2008)
            for month in range(1, 13):
                post_revenue(company, f'2008-{month:02}-01', '1')
            for size in [1, 2, 12]:
                reviews = Review.create([{
                            'company': company.id,
                            'name': f"Review {i}",
                            'start_date': H1[0],
                            'end_date': H1[1],
                            } for i in range(size)])
                count = []
                ids = [r.id for r in reviews]
                with Transaction().set_user(0):
                    for function in [
                            lambda: Review.read(ids, names),
                            lambda: Review.close(Review.browse(ids)),
                            lambda: Review.read(ids, names),
                            lambda: Review.draft(Review.browse(ids)),
                            ]:
                        with Transaction().set_context(
                                company=company.id, _check_access=False), \
                                count_statements() as statements:
                            function()
                        # SQLite inserts and copies row by row
                        count.append(len([
                                    s for s in statements
                                    if not s.startswith('INSERT')]))
                counts.append(count)
        self.assertEqual(counts[1], counts[2])
