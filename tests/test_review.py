# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import functools
import unittest
import unittest.mock
from collections import defaultdict
from copy import copy
from decimal import Decimal
from io import BytesIO
from zipfile import ZipFile

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from lxml import etree
from openpyxl import load_workbook

from trytond.model import Model
from trytond.model.exceptions import AccessError
from trytond.modules.account.tests import get_fiscalyear
from trytond.modules.company.tests import (
    create_company, create_employee, set_company)
from trytond.modules.currency.tests import add_currency_rate, create_currency
from trytond.modules.prm.trytond_prm.exceptions import (
    PrintError, WorkflowAccessError)
from trytond.modules.prm.trytond_prm.review.exceptions import (
    ReviewClosedError, ReviewNotOverWarning, ReviewPeriodError,
    ReviewRateError, ReviewRecipientError)
from trytond.modules.prm.trytond_prm.review.review import FIGURES
from trytond.pool import Pool
from trytond.pyson import PYSONDecoder
from trytond.tests.test_tryton import activate_module, with_transaction
from trytond.transaction import Transaction, check_access

from .concession_tools import SetupMixin, with_setup
from .test_buyback import World
from .tools import ALL_MODULES, count_statements

D = Decimal
DAY = dt.timedelta(days=1)
H1 = dt.date(2008, 1, 1), dt.date(2008, 6, 30)


def date(value):
    return dt.date.fromisoformat(value)


def setup_account(company, *years):
    """Create two accounts and the fiscal years of one period

    They are all that post_revenue needs of a chart, which takes longer.
    """
    pool = Pool()
    Account = pool.get('account.account')
    AccountType = pool.get('account.account.type')
    FiscalYear = pool.get('account.fiscalyear')
    Account.create([{
                'company': company.id, 'name': t.name, 'code': code,
                'type': t.id,
                } for t, code in zip(AccountType.create([{
                            'company': company.id, 'name': "Revenue",
                            'statement': 'income', 'revenue': True,
                            }, {
                            'company': company.id, 'name': "Cash",
                            'statement': 'balance',
                            }]), ['4.1.1', '1.1.1'])])
    fiscalyears = []
    for year in years:
        fiscalyear = get_fiscalyear(company, today=dt.date(year, 1, 1))
        fiscalyear.save()
        fiscalyears.append(fiscalyear)
    FiscalYear.create_period(fiscalyears, interval=12)
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

            self.assertEqual(list(months), ['2007-12', '2008-01'])
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

            # or the last months with an entry
            interact(company, '2008-04-01 10:00', 0)
            self.assertEqual(
                list(get_months(last_months=2)), ['2008-02', '2008-03'])

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

            # What is empty is not drawn at zero, the staff not at all
            Month = Pool().get('prm.review.month')
            View = Pool().get('ir.ui.view')
            view, = View.search([
                    ('model', '=', 'prm.review.month'),
                    ('name', '=', 'review_month_graph_tension'),
                    ])
            tree = etree.fromstring(Month.fields_view_get(view.id)['arch'])
            domains = {
                f.get('name'): f.get('domain')
                for f in tree.findall('y/field')}
            self.assertEqual(
                domains.keys(),
                {'tension', 'tension_customer', 'tension_partner'})
            self.assertEqual(
                {n: PYSONDecoder({n: getattr(month, n)}).decode(d)
                    for n, d in domains.items()},
                {'tension': True, 'tension_customer': True,
                    'tension_partner': False})

    @with_transaction()
    def test_tension_staff(self):
        "Users read the tension of the staff from five people only"
        pool = Pool()
        Employee = pool.get('company.employee')
        Interaction = pool.get('prm.interaction')
        Party = pool.get('party.party')
        Review = pool.get('prm.review')
        company = create_company()
        with set_company(company):
            setup_account(company, 2008)
            parties = Party.create([{'name': f'E{i}'} for i in range(5)])
            employees = Employee.create([{
                        'party': p.id, 'company': company.id}
                    for p in parties[:3]])
            interact(company, '2008-01-10 10:00', 0, 'customer')
            interactions = [
                interact(company, '2008-01-10 10:00', -1) for _ in range(7)]
            # Neither the same people again nor those unknown count
            for interaction, employee in zip(interactions, employees * 2):
                interaction.employee = employee
            Interaction.save(interactions)
            # The colleague spoke and not the employee
            Interaction.write(interactions[:1], {'party': parties[3].id})
            for protect in [{'_check_access': True}, {'protect_staff': True}]:
                with Transaction().set_user(1), \
                        Transaction().set_context(protect):
                    few = get_months()['2008-01']
                    self.assertEqual(few.tension_staff, None)
                    self.assertEqual(few.tension, 0)
                    self.assertEqual(few.interactions, 8)
            self.assertEqual(get_months()['2008-01'].tension_staff, 1)

            Interaction.write(interactions[-1:], {'party': parties[4].id})

            with Transaction().set_user(1), \
                    Transaction().set_context(_check_access=True):
                enough = get_months()['2008-01']
                self.assertEqual(enough.tension_staff, 1)
                self.assertEqual(enough.tension, D('0.875'))
            review = new_review(company)
            Review.close([review])
            self.assertEqual(review.tension_staff, 1)

    @with_transaction()
    def test_interaction_timezone(self):
        "The month of an interaction is the one where the company is"
        company = create_company()
        with set_company(company):
            interact(company, '2008-05-31 22:30', 0)
            interact(company, '2008-01-31 22:30', 0)
            self.assertEqual(list(get_months()), ['2008-01', '2008-05'])
            company.timezone = 'Europe/Paris'
            company.save()

            self.assertEqual(list(get_months()), ['2008-01', '2008-06'])
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
            interact(company, '2008-01-01 10:00', -1, 'customer')
            # Too few people to keep it
            interact(company, '2008-01-01 10:00', 0)
            review = new_review(company)

            Review.close([review])
            self.assertEqual(review.state, 'closed')
            self.assertEqual(review.tension_staff, None)
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
    def test_consolidation(self):
        "The amounts of the other companies are converted at their date"
        pool = Pool()
        Review = pool.get('prm.review')
        User = pool.get('res.user')
        company = create_company()
        euro = create_currency('eur')
        add_currency_rate(euro, D('0.5'), date('2008-01-01'))
        add_currency_rate(euro, D('0.25'), date('2008-03-01'))
        subsidiary = create_company("Subsidiary", currency=euro)
        sister = create_company("Sister", currency=company.currency)
        stranger = create_company("Stranger", currency=euro)
        for other, amounts in [
                (company, {'2008-01-31': '1'}),
                (sister, {'2008-01-31': '2'}),
                (subsidiary, {
                        '2008-02-29': '10.01', '2008-03-01': '100.01'}),
                (stranger, {'2008-01-31': '5000'})]:
            with set_company(other):
                setup_account(other, 2008)
                for when, amount in amounts.items():
                    post_revenue(other, when, amount)
                interact(other, '2008-01-01 10:00', -1)
        others = [('add', [subsidiary.id, sister.id])]
        period = {
            'comparison': 'other', 'compare_start_date': None,
            'compare_end_date': None}

        self.create_cost(subsidiary)

        review = new_review(company, companies=others, **period)
        alone = new_review(company, **period)

        self.assertEqual(review.currency, company.currency)
        self.assertEqual(review.gross_revenue, D('423.06'))
        self.assertEqual(review.interactions, 3)
        self.assertEqual(review.tension, 1)
        self.assertEqual(review.unexplained, 0)
        self.assertEqual(
            sorted(d.amount for d in review.differences),
            [D('-400.04'), D('-20.02'), -2, -1])
        months = [
            (m.date.month, m.gross_revenue, m.interactions, m.currency)
            for m in review.months]
        self.assertEqual([m[:3] for m in months], [
                (1, 3, 3), (2, D('20.02'), 0), (3, D('400.04'), 0)])
        cost, = review.costs
        self.assertEqual(
            (cost.company, cost.kind, cost.amount, cost.currency),
            (subsidiary, 'unfinished', D('20.02'), company.currency))
        self.assertEqual(alone.gross_revenue, 1)
        self.assertEqual(alone.costs, ())
        self.assertEqual(len(alone.differences), 1)
        self.assertEqual(alone.interactions, 1)

        Review.close([review])
        add_currency_rate(euro, D('0.1'), date('2008-03-01') - DAY)
        self.assertEqual(review.gross_revenue, D('423.06'))
        self.assertEqual(
            [(m.date.month, m.gross_revenue, m.interactions, m.currency)
                for m in review.closed_months], months)
        self.assertTrue(review.changed)

        user = User(
            name="User", login='user', companies=[company.id],
            company=company.id, groups=[
                pool.get('ir.model.data').get_id('prm', 'group_prm_manager')])
        user.save()
        with Transaction().set_user(user.id), \
                Transaction().set_context(
                    User.get_preferences(context_only=True),
                    _check_access=True):
            self.assertEqual(Review.search([]), [alone])
            self.assertEqual(get_months(prm_review=review.id), {})
            self.assertEqual(
                [m.gross_revenue
                    for m in get_months(prm_review=alone.id).values()], [1])

        with self.assertRaises(ReviewRateError) as cm:
            new_review(
                company, date('2007-01-01'), date('2007-06-30'),
                companies=others, **period)
        self.assertEqual(
            cm.exception.message,
            'Review "Half-year" cannot convert the amounts because currency '
            '"eur" has no rate on 01/01/2007.\n'
            'Add a rate to the currency or remove its companies from the '
            'review.')

    def create_cost(self, company):
        "Create a separation with an action that was shelved"
        pool = Pool()
        Party = pool.get('party.party')
        Plan = pool.get('prm.plan')
        Separation = pool.get('prm.separation')
        with set_company(company):
            party = Party(name="Leaver")
            party.save()
            Separation.create([{
                        'company': company.id,
                        'party': party.id,
                        'milestones': [('create', [{
                                        'kind': 'announcement',
                                        'date': H1[0],
                                        }])],
                        }])
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': H1[0],
                        'end_date': H1[1],
                        'actions': [('create', [{
                                        'name': "Extranet",
                                        'kind': 'product',
                                        'cost': D('10.01'),
                                        'why': "No time",
                                        'stopped_date': date('2008-02-29'),
                                        }])],
                        }])
            pool.get('prm.plan.action').shelve(plan.actions)

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
        review = new_review(
            company, start_date=today, end_date=today + DAY)

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
    def test_phase(self):
        "The months are before, during or after the separation"
        pool = Pool()
        Party = pool.get('party.party')
        Phase = pool.get('prm.separation.phase')
        Review = pool.get('prm.review')
        Separation = pool.get('prm.separation')
        company = create_company()
        with set_company(company):
            setup_account(company, 2007)
            associate = Party(name="Associate")
            associate.save()
            separation, = Separation.create([{
                        'company': company.id,
                        'party': associate.id,
                        'milestones': [('create', [
                                    {'kind': 'differences',
                                        'date': date('2007-03-15')},
                                    {'kind': 'last_payment',
                                        'date': date('2007-05-10')},
                                    ])],
                        }])
            post_revenue(company, '2007-01-31', '10')
            post_revenue(company, '2007-02-28', '20.01')
            post_revenue(company, '2007-03-01', '40')
            post_revenue(company, '2007-05-31', '80')
            post_revenue(company, '2007-06-01', '160')
            interact(company, '2007-04-01 10:00', -1)

            phases = Phase.search([('separation', '=', separation.id)])

            self.assertEqual(
                [(p.phase, p.months, p.gross_revenue, p.monthly_gross_revenue,
                        p.tension_staff) for p in phases], [
                    ('before', 2, D('30.01'), D('15.00'), None),
                    ('during', 3, 120, 40, 1),
                    ('after', 1, 160, 160, None),
                    ])
            with Transaction().set_context(end_date=date('2007-05-31')):
                self.assertEqual(
                    [p.phase for p in Phase.search([])], ['before', 'during'])
            review = new_review(
                company, date('2007-01-01'), date('2007-06-30'))
            early = new_review(
                company, date('2007-01-01'), date('2007-04-30'))
            self.assertEqual(
                [p['phase'] for p in early.document['phases']],
                ['before', 'during'])
            self.assertEqual(
                Review._documents([early, review], Review._figures(
                        [early, review], monthly=True)),
                {r.id: r.document for r in [early, review]})
            self.check_staff_access(review)

    def check_staff_access(self, review):
        "Only who may read the staff tension finds it in the document"
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        Review = pool.get('prm.review')
        Snapshot = pool.get('prm.review.snapshot')
        User = pool.get('res.user')
        users = User.create([{
                    'name': group, 'login': group,
                    'companies': [('add', [review.company.id])],
                    'company': review.company.id,
                    'groups': [('add', [ModelData.get_id(*group.split('.'))])],
                    } for group in [
                    'prm.group_prm_manager', 'prm.group_associate',
                    'account.group_account']])
        director = users[0]

        for state in ['draft', 'closed']:
            if state == 'closed':
                Review.close([review])
            snapshots = [s.id for s in review.snapshots]
            for user in users:
                with self.subTest(state=state, user=user.login), \
                        Transaction().set_user(user.id), \
                        Transaction().set_context(
                            User.get_preferences(context_only=True),
                            _check_access=True):
                    document = Review(review.id).document
                    for row in document['phases'] + document['series']:
                        self.assertEqual(
                            'tension_staff' in row, user == director)
                        # There are too few people
                        self.assertIsNone(row.get('tension_staff'))
                    if state == 'closed':
                        read = functools.partial(
                            Snapshot.read, snapshots, ['document'])
                        if user == director:
                            self.assertTrue(any(r['document'] for r in read()))
                        else:
                            self.assertRaises(AccessError, read)

    @with_transaction()
    def test_report(self):
        "The printed review of a closed review stays as it was"
        pool = Pool()
        Report = pool.get('prm.review', type='report')
        Review = pool.get('prm.review')
        company = create_company()
        with set_company(company):
            setup_account(company, 2007, 2008)
            post_revenue(company, '2007-12-31', '2000')
            post_revenue(company, '2008-01-01', '4321')
            interact(company, '2008-01-01 10:00', -1, 'customer')
            plan, = pool.get('prm.plan').create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': H1[0],
                        'end_date': H1[1],
                        'actions': [('create', [{
                                        'name': "Extranet",
                                        'kind': 'product',
                                        'why': "No time",
                                        'stopped_date': H1[1],
                                        }])],
                        }])
            pool.get('prm.plan.action').shelve(plan.actions)
            review = new_review(company, name="The Half-year")
            Finding = pool.get('prm.review.finding')
            Finding.create([{
                        'review': review.id, 'kind': 'negative',
                        'text': "Much time lost"}])

            extension, content, _, name = Report.execute([review.id], {})
            self.assertEqual(extension, 'pdf')
            self.assertEqual(content[:4], b'%PDF')
            self.assertEqual(name, "Review-The Half-year")

            document, months = review.document, review.all_months
            with Transaction().set_context(language='fr'):
                Review.close([review])
            post_revenue(company, '2008-06-30', '1')
            review = Review(review.id)
            self.assertEqual(review.document, document)
            self.assertEqual(review.all_months, months)
            self.assertEqual(document['unfinished'][0]['state'], 'shelved')

    @with_transaction()
    def test_report_language(self):
        "A review is told in each language whatever the one of the closing"
        pool = Pool()
        Lang = pool.get('ir.lang')
        Reason = pool.get('prm.concession.reason')
        Report = pool.get('prm.review', type='report')
        Review = pool.get('prm.review')
        english, french, german = (
            Lang.search([('code', '=', c)])[0] for c in ['en', 'fr', 'de'])
        french.translatable = True
        french.save()
        reason = Reason(name="Late delivery")
        reason.save()
        with Transaction().set_context(language='fr'):
            Reason.write([Reason(reason.id)], {'name': "Retard"})

        names = Review._names([reason])[reason]

        self.assertEqual(names, {'en': "Late delivery", 'fr': "Retard"})
        rows = {
            'parties': [{'end_reason': None}],
            'next': [],
            'unfinished': [{'state': 'shelved'}],
            }
        for lang, reasons, expected in [
                (english, names, "Late delivery"),
                (french, names, "Retard"),
                (german, names, "Late delivery"),
                ]:
            with self.subTest(lang=lang.code):
                document = Report._translated(
                    {**rows, 'concessions': [{'reason': reasons}]}, lang)
                self.assertEqual(
                    document['concessions'], [{'reason': expected}])
                self.assertEqual(
                    document['parties'], [{'end_reason': None}])
                self.assertEqual(
                    document['unfinished'],
                    [{'state': "Shelved", 'decision': ''}])

    @with_transaction()
    def test_report_text(self):
        "The text document has the figures, the charts and their texts"
        pool = Pool()
        ActionReport = pool.get('ir.action.report')
        ModelData = pool.get('ir.model.data')
        Report = pool.get('prm.review', type='report')
        action = ActionReport(ModelData.get_id('prm', 'report_review_odt'))
        company = create_company()
        with set_company(company):
            setup_account(company, 2007, 2008)
            post_revenue(company, '2007-12-31', '2000')
            post_revenue(company, '2008-01-01', '4321')
            review = new_review(company, name="The <Half-year>")

            extension, content, _, _ = Report.execute(
                [review.id], {'action_id': action.id})

        self.assertEqual(extension, 'odt')
        with ZipFile(BytesIO(content)) as archive:
            self.assertEqual(archive.testzip(), None)
            self.assertEqual(
                archive.infolist()[0].filename, 'mimetype')
            self.assertEqual(
                archive.read('mimetype'),
                b'application/vnd.oasis.opendocument.text')
            names = archive.namelist()
            for name in names:
                if name != 'mimetype':
                    etree.fromstring(archive.read(name))
            root = etree.fromstring(archive.read('content.xml'))
        texts = [''.join(e.itertext()) for e in root.iter('{*}p', '{*}h')]
        self.assertIn("The <Half-year>", texts)
        self.assertIn("Method and Definitions", texts)
        self.assertIn("usd4,321.00", texts)
        images = list(root.iter('{*}image'))
        self.assertEqual(
            [i.get('{http://www.w3.org/1999/xlink}href') for i in images],
            [n for n in names if n.endswith('.svg')])
        alternatives = list(root.iter('{*}desc'))
        self.assertEqual(len(alternatives), len(images))
        self.assertTrue(all(a.text for a in alternatives))

    @with_transaction()
    def test_close_month(self):
        "A closed review tells also what moved from a month to another"
        pool = Pool()
        Review = pool.get('prm.review')
        company = create_company()
        with set_company(company):
            setup_account(company, 2007, 2008)
            post_revenue(company, '2008-01-01', '4')
            review = new_review(company)
            Review.close([review])
            post_revenue(company, '2008-01-15', '5')
            post_revenue(company, '2008-05-15', '-5')

            review = Review(review.id)

            self.assertTrue(review.changed)
            self.assertEqual(review.changes.split('\n'), [
                    "Ledger Revenue, 2008-01: usd4.00 → usd9.00",
                    "Ledger Revenue, 2008-05: usd0.00 → -usd5.00",
                    ])

    @with_transaction()
    def test_report_library(self):
        "The report tells which library the server lacks"
        pool = Pool()
        Report = pool.get('prm.review', type='report')
        company = create_company()
        with set_company(company):
            setup_account(company, 2008)
            review = new_review(company)
            with unittest.mock.patch(
                    'trytond.report.report._lazy_import',
                    side_effect=OSError("cannot load library 'pango'")):
                with self.assertRaisesRegex(
                        PrintError,
                        'The report "Review" can not be printed .*pango'):
                    Report.execute([review.id], {})

    @with_transaction()
    def test_workflow_access(self):
        "A review is closed and opened by its buttons only"
        pool = Pool()
        Review = pool.get('prm.review')
        company = create_company()
        with set_company(company):
            setup_account(company, 2008)
            review = new_review(company)
            with check_access():
                with self.assertRaises(WorkflowAccessError):
                    Review.write([review], {'state': 'closed'})
            Review.close([review])
            snapshot = review.snapshots[0]
            with check_access():
                with self.assertRaises(WorkflowAccessError):
                    Review.write([review], {'state': 'draft'})
                with self.assertRaises(WorkflowAccessError):
                    snapshot.__class__.write(
                        [snapshot], {'gross_revenue': Decimal(1)})
                with self.assertRaises(WorkflowAccessError):
                    snapshot.__class__.delete([snapshot])

    @with_transaction()
    def test_spreadsheet(self):
        "The figures of the spreadsheet are linked by formulas"
        pool = Pool()
        Review = pool.get('prm.review')
        Spreadsheet = pool.get('prm.review.spreadsheet', type='report')
        company = create_company()
        with set_company(company):
            setup_account(company, 2007, 2008)
            post_revenue(company, '2007-12-31', '2000')
            post_revenue(company, '2008-01-01', '4321')
            review = new_review(company)

            extension, content, _, _ = Spreadsheet.execute([review.id], {})

            self.assertEqual(extension, 'xlsx')
            formulas = load_workbook(BytesIO(content))
            values = load_workbook(BytesIO(content), data_only=True)
            self.assertEqual(formulas.sheetnames, ["Figures", "Months"])
            cells = {
                row[0].value: row for row in formulas["Figures"].rows}
            self.assertEqual(
                [c.value for c in cells["Net Revenue"][1:3]],
                ['=B4-B5', '=C4-C5'])
            self.assertEqual(cells["Gross Revenue"][2].value, 2000)
            self.assertEqual(
                cells["Gross Revenue"][3].value, '=B4-C4')
            cells = {row[0].value: row for row in values["Figures"].rows}
            definitions = Review.fields_get(FIGURES)
            for name in FIGURES:
                with self.subTest(name=name):
                    cell = cells[definitions[name]['string']][1]
                    value = getattr(review, name)
                    self.assertEqual(
                        cell.value, None if value is None else float(value))
            rows = list(values["Months"].rows)
            self.assertEqual(
                [row[3].value for row in rows],
                ["Gross Revenue", 2000, 4321, 6321])

    @with_transaction()
    def test_send(self):
        "A closed review is sent to each recipient in his language"
        pool = Pool()
        Email = pool.get('ir.email')
        Lang = pool.get('ir.lang')
        Party = pool.get('party.party')
        Report = pool.get('prm.review', type='report')
        Review = pool.get('prm.review')
        company = create_company()
        french, = Lang.search([('code', '=', 'fr')])
        with set_company(company):
            bank, lawyer = Party.create([{
                        'name': name,
                        'lang': language,
                        'contact_mechanisms': [('create', [{
                                        'type': 'email',
                                        'value': f'{name}@example.com',
                                        }])],
                        } for name, language in [
                        ('bank', None), ('lawyer', french.id)]])
            mute = Party(name="mute")
            mute.save()
            review = new_review(
                company, recipients=[('add', [bank.id, lawyer.id])])
            Review.close([review])

            languages = []

            def execute(ids, data):
                languages.append(Transaction().language)
                self.assertTrue(Transaction().context['without_staff'])
                return 'pdf', b'%PDF', False, "Review"

            with unittest.mock.patch.object(Report, 'execute', execute), \
                    unittest.mock.patch(
                        'trytond.ir.email_.send_message_transactional'
                        ) as send_message:
                Review.send([review])

            messages = {
                m['To']: m for m, in (
                    c.args for c in send_message.call_args_list)}
            self.assertEqual(
                set(messages),
                {'bank <bank@example.com>', 'lawyer <lawyer@example.com>'})
            self.assertEqual(sorted(languages), ['en', 'fr'])
            for message in messages.values():
                attachment, = message.iter_attachments()
                self.assertEqual(attachment.get_content(), b'%PDF')
            self.assertEqual(
                {e.recipients for e in Email.search([
                            ('resource', '=', str(review))])},
                set(messages))
            self.assertTrue(review.sent_at)

            Review.write([review], {'recipients': [('add', [mute.id])]})
            with self.assertRaises(ReviewRecipientError) as cm:
                Review.send([review])
            self.assertEqual(
                cm.exception.message,
                'You cannot send review "Half-year" because its recipient '
                '"mute" has no e-mail.\n'
                'Add an e-mail to the contact mechanisms of the party or '
                'remove it from the recipients.')

    @with_transaction()
    def test_create_half_year(self):
        "The draft of the last half-year is created once"
        pool = Pool()
        Party = pool.get('party.party')
        Review = pool.get('prm.review')
        company = create_company()
        bank = Party(name="Bank")
        bank.save()
        with set_company(company), \
                unittest.mock.patch.object(
                    pool.get('ir.date'), 'today',
                    return_value=date('2008-07-01')):
            new_review(
                company, date('2007-07-01'), date('2007-12-31'),
                recipients=[('add', [bank.id])])

            review, = Review.create_half_year()
            self.assertEqual(Review.create_half_year(), [])

        self.assertEqual(review.name, "2008 H1")
        self.assertEqual(
            (review.start_date, review.end_date), H1)
        self.assertEqual(review.compare_start_date, date('2007-07-01'))
        self.assertEqual(review.state, 'draft')
        self.assertEqual(review.recipients, (bank,))

    @with_transaction()
    def test_plan_decision(self):
        "A decision becomes an action of a plan, also once closed"
        pool = Pool()
        Finding = pool.get('prm.review.finding')
        Plan = pool.get('prm.plan')
        PlanDecision = pool.get('prm.review.finding.plan', type='wizard')
        Review = pool.get('prm.review')
        company = create_company()
        with set_company(company):
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC 2008",
                        'start_date': date('2008-01-01'),
                        'end_date': date('2008-12-31'),
                        }])
            review = new_review(company)
            finding, = Finding.create([{
                        'review': review.id,
                        'kind': 'decision',
                        'text': "Call everybody\nback",
                        }])
            Review.close([review])

            session_id, _, _ = PlanDecision.create()
            with Transaction().set_context(
                    active_model=Finding.__name__, active_id=finding.id,
                    active_ids=[finding.id]):
                wizard = PlanDecision(session_id)
                defaults = wizard.default_start([])
                self.assertEqual(defaults, {
                        'company': company.id, 'name': "Call everybody"})
                wizard.start.company = company
                wizard.start.name = defaults['name']
                wizard.start.plan = plan
                wizard.start.kind = 'other'
                wizard.start.core = True
                wizard.start.employee = None
                wizard.start.start_date = None
                wizard.start.due_date = date('2008-09-30')
                wizard.transition_plan()

            action, = plan.actions
            self.assertEqual(Finding(finding.id).action, action)
            self.assertEqual(action.name, "Call everybody")
            self.assertEqual(action.state, 'planned')

    @with_transaction()
    def test_report_buybacks(self):
        "A buyback is told until the period after its last payment"
        Review = Pool().get('prm.review')
        review = Review(
            start_date=H1[0], end_date=H1[1], compare_start_date=None)
        for payments, told in [
                ([], True),
                ([('2007-12-31', 60)], True),
                ([('2007-12-31', 60), ('2008-07-01', 40)], True),
                ([('2007-12-31', 60), ('2008-06-30', 40)], True),
                ([('2007-11-30', 60), ('2007-12-31', 40)], False),
                ]:
            with self.subTest(payments=payments):
                buybacks = Review._paid_until(review, [{
                            'instalments': [{
                                    'amount': D(100),
                                    'payments': [
                                        (date(d), D(a)) for d, a in payments],
                                    }]}])
                self.assertEqual(bool(buybacks), told)

    @with_transaction()
    def test_report_separation(self):
        "The cost of the separation is beside the result of the activity"
        Report = Pool().get('prm.review', type='report')
        review = unittest.mock.Mock(
            gross_revenue=D(1000), concessions=D(100), buyback_paid=D(300),
            imputed_revenue=D(600))

        result = Report._separation(review, {
                'concessions': [
                    {'separation': True, 'amount': D(30)},
                    {'separation': False, 'amount': D(70)},
                    ]})

        self.assertEqual(result['activity'], D(930))
        self.assertEqual(result['cost'], D(330))
        self.assertEqual(
            result['activity'] - result['cost'], review.imputed_revenue)

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


months = st.integers(min_value=1, max_value=12)
cents = st.integers(min_value=1, max_value=10 ** 6).map(
    lambda c: D(c) / 100)
# The months after which a gesture is cancelled
cancelled = st.none() | st.integers(min_value=0, max_value=3)
entries = st.lists(st.one_of(
        st.tuples(
            months, st.sampled_from(['invoice', 'credit']), cents,
            st.booleans()),
        st.tuples(months, st.just('move'), cents),
        st.tuples(
            months, st.sampled_from(['credit_note', 'refund']), cents,
            months, cancelled, st.booleans()),
        st.tuples(
            months, st.just('free_service'), cents, months, cancelled)),
    min_size=1, max_size=4)
# The months of delay of the payment of each instalment, whether a payment by
# the bank fails before, whether it is taken back one month after or only
# unreconciled, and whether it is paid again the next month
payments = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=3), st.booleans(),
        st.sampled_from([None, 'cancelled', 'unreconciled']), st.booleans()),
    max_size=2)
# What an unit of the company is in the other currency
RATES = {1: D('0.3'), 7: D('0.7')}


class ReviewLedgerTestCase(SetupMixin, unittest.TestCase):
    "Test the review with a chart of accounts and the optional modules"
    modules = ALL_MODULES
    today = date('2008-12-31')

    @classmethod
    def set_up_data(cls, setup):
        PaymentJournal = Pool().get('account.payment.journal')
        cls.world = World(setup.company, years=())
        currency = create_currency('oth')
        for month, rate in RATES.items():
            add_currency_rate(currency, rate, dt.date(2008, month, 1))
        PaymentJournal.create([{
                    'name': "Bank", 'company': setup.company.id,
                    'currency': setup.company.currency.id,
                    'process_method': 'manual',
                    }])

    def set_up(self, setup):
        pool = Pool()
        Party = pool.get('party.party')
        Partner = pool.get('prm.partner')
        Reason = pool.get('prm.partner.end_reason')
        Separation = pool.get('prm.separation')
        parties = Party.create([
                {'name': name, 'addresses': [('create', [{}])]}
                for name in ["Faithful", "Silent", "Follower", "Leaver"]])
        faithful, silent, follower, leaver = parties
        employee = create_employee(setup.company, name="Successor")
        partner, = Partner.create([{
                    'company': setup.company.id,
                    'party': follower.id,
                    'manager': employee.id,
                    'start_date': date('2008-01-01'),
                    }])
        Partner.onboard([partner])
        Partner.activate([partner])
        reason = Reason(name="Followed")
        reason.save()
        partner.end_date = date('2008-07-31')
        partner.end_reason = reason
        partner.save()
        Partner.end([partner])
        for party, month, amount in [
                (faithful, 3, '100'), (silent, 3, '300'),
                (follower, 4, '200'), (faithful, 7, '80')]:
            setup.invoice(
                (1, amount), party=party, date=dt.date(2008, month, 10))
        separation, = Separation.create([{
                    'company': setup.company.id,
                    'party': leaver.id,
                    'exposure_start': date('2008-01-01'),
                    'exposure_end': date('2008-06-20'),
                    'milestones': [('create', [
                                {'kind': 'announcement',
                                    'date': date('2008-06-20')},
                                {'kind': 'last_payment',
                                    'date': date('2008-08-01')},
                                ])],
                    'exposures': [('create', [{
                                    'party': party.id,
                                    'state': state,
                                    'accepted_date': accepted,
                                    'successor': employee.id,
                                    } for party, state, accepted in [
                                    (faithful, 'accepted',
                                        date('2008-07-05')),
                                    (silent, 'open', None)]])],
                    }])
        return separation, parties

    @with_setup
    def test_separation(self, setup):
        """The months are split by the milestones, which are drawn

        The partners and customers of before are followed by revenue.
        """
        pool = Pool()
        Month = pool.get('prm.separation.month')
        PartyRow = pool.get('prm.separation.party')
        _, (faithful, silent, follower, _) = self.set_up(setup)

        self.assertEqual([(
                    m.date.month, m.phase, m.milestones, m.mark_revenue,
                    m.before_revenue, m.during_revenue, m.after_revenue,
                    m.partners_lost, m.exposure_handled, m.exposure_open)
                for m in Month.search([])], [
                (3, 'before', 0, None, 400, None, None, 0, None, None),
                (4, 'before', 0, None, 200, None, None, 0, None, None),
                (6, 'during', 1, 400, None, 0, None, 0, 0, 400),
                (7, 'during', 0, None, None, 80, None, 1, 100, 300),
                (8, 'during', 1, 400, None, 0, None, 0, 100, 300),
                ])
        self.assertEqual(
            [m.milestone_names for m in Month.search([
                        ('milestones', '>', 0)])],
            ["Announcement", "Last Payment"])

        rows = PartyRow.search([])

        self.assertEqual([(
                    r.party, r.revenue_before, r.revenue_since, r.change,
                    r.lost, r.exposed) for r in rows], [
                (silent, 300, 0, -300, True, True),
                (follower, 200, 0, -200, True, False),
                (faithful, 100, 80, -20, False, True),
                ])
        self.assertEqual(
            [(r.end_date, r.end_reason and r.end_reason.name) for r in rows],
            [(None, None), (date('2008-07-31'), "Followed"), (None, None)])
        self.assertEqual(
            len(PartyRow.search([('lost', '=', True)])), 2)

    @with_setup
    def test_duty(self, setup):
        "The duty of a buyback is a cost that is not imputed"
        pool = Pool()
        Cost = pool.get('prm.separation.cost')
        Duty = pool.get('prm.buyback.duty')
        Separation = pool.get('prm.separation')
        Year = pool.get('prm.separation.year')
        world = self.get_world()
        separation, = Separation.create([{
                    'company': setup.company.id,
                    'party': world.leaver.id,
                    'milestones': [('create', [{
                                    'kind': 'protocol',
                                    'date': date('2008-01-15'),
                                    }])],
                    }])
        duty, = Duty.create([{
                    'name': "Shares",
                    'rates': [('create', [{
                                    'start_date': date('2007-01-01'),
                                    'rate': D('0.001'),
                                    }])],
                    }])
        buyback = world.create(
            'running', route='company_purchase', title_transfer='effective',
            duty=duty.id, account_premium=None,
            account_duty=world.expense.id,
            account_duty_payable=world.create_account(
                "State", 'balance').id,
            announcement_date=date('2008-01-01'),
            signature_date=date('2008-01-15'))

        cost, = Cost.search([('separation', '=', separation.id)])

        self.assertEqual(
            (cost.kind, cost.amount, cost.origin, cost.imputed, cost.date),
            ('duty', 48, buyback, False, buyback.move.date))
        year, = Year.search([])
        self.assertEqual(
            (year.duty, year.cost, year.result), (48, 48, -48))
        review = new_review(setup.company)
        self.assertEqual(review.imputed_revenue, 0)
        Report = pool.get('prm.review', type='report')
        self.assertEqual(
            {k: v for k, v in Report._separation(
                    review, review.document).items() if v},
            {'duty': 48, 'total': 48})

    @with_setup
    def test_weight(self, setup):
        "The part of the revenue that the gestures and the payments take"
        # The first worked example, a year later: nothing depends on the year
        world = self.get_world()
        invoice = setup.invoice((1, '412350.00'), date=date('2008-06-02'))
        setup.grant(setup.concession(
                '8247.00', invoice, date=date('2008-09-01')))
        buyback = world.create(
            'running', quantity=350, unit_price=D('28.5699'),
            interest_rate=None, period_months=1,
            announcement_date=date('2008-09-01'),
            signature_date=date('2008-10-31'))
        for instalment, day in zip(
                buyback.instalments, ['2008-11-30', '2008-12-31']):
            world.pay(day, instalment.amount, world.lines(instalment))

        review = new_review(
            setup.company, start_date=date('2008-01-01'),
            end_date=date('2008-12-31'))

        self.assertEqual(
            (review.gross_revenue, review.concessions, review.buyback_paid),
            (D('412350.00'), D('8247.00'), D('4999.72')))
        weight = review.gross_revenue - review.imputed_revenue
        self.assertEqual(weight, D('13246.72'))
        self.assertEqual(
            (weight / review.gross_revenue).quantize(D('0.000001')),
            D('0.032125'))

    @with_setup
    def test_pipeline(self, setup):
        "What is ahead is compared with the closing of the last review"
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        Report = pool.get('prm.review', type='report')
        Review = pool.get('prm.review')
        late, early = Opportunity.create([{
                    'company': setup.company.id,
                    'currency': setup.company.currency.id,
                    'start_date': date('2007-12-01'),
                    'expected_close_date': date(expected),
                    'amount': D(amount),
                    'conversion_probability': probability,
                    } for expected, amount, probability in [
                    ('2008-09-15', '1000', 0.4), ('2008-02-15', '300', 0.5)]])
        before = new_review(
            setup.company, date('2007-07-01'), date('2007-12-31'),
            name="2007 H2")
        Review.close([before])
        Opportunity.write([late], {'conversion_probability': 0.75})

        review = new_review(setup.company)

        self.assertEqual(review.weighted_pipeline, 150)
        self.assertEqual(before.document['pipeline'], [{
                    'date': date('2008-02-01'),
                    'amount': D(300), 'weighted_amount': D(150),
                    }])
        self.assertEqual(Report._pipeline(review.document), {
                'ahead': 750, 'before': 150, 'name': "2007 H2",
                'change': 600})

    @settings(max_examples=4, deadline=None, phases=[
            Phase.explicit, Phase.generate])
    @given(entries, payments)
    # A refund that is cancelled before it is paid
    @example([(4, 'refund', D('813.49'), 10, 3, True)], [])
    def test_ledger(self, entries, payments):
        "The figures equal the ledger and their differences are explained"
        self.check_ledger(entries, payments)

    def get_world(self):
        "Return the world of buybacks in the transaction"
        pool = Pool()
        world = copy(self.world)
        for name, value in vars(world).items():
            if isinstance(value, Model):
                setattr(world, name, pool.get(value.__name__)(value.id))
        return world

    def pay_instalments(self, payments):
        "Pay a buyback and return its principal and interest by month"
        pool = Pool()
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Period = pool.get('account.period')
        Reconciliation = pool.get('account.move.reconciliation')
        paid = defaultdict(lambda: [D(0), D(0)])
        if not payments:
            return paid
        world = self.get_world()
        buyback = world.create(
            'running', announcement_date=date('2008-01-01'),
            signature_date=date('2008-01-15'), period_months=1,
            unit_price=D('13.37'), number_of_instalments=len(payments))
        world.post_due_interest('2008-12-31')

        def pay(instalment, month, sign=1):
            paid[month][0] += sign * instalment.principal
            paid[month][1] += sign * instalment.interest
            if sign > 0:
                return world.pay(
                    f'2008-{month:02}-28', instalment.amount,
                    world.lines(instalment))

        for instalment, (delay, failed, back, again) in zip(
                buyback.instalments, payments):
            month = instalment.due_date.month + delay
            if failed:
                self.fail_payment(world, instalment, month)
            line = pay(instalment, month)
            if not back:
                continue
            Reconciliation.delete([line.reconciliation])
            if back == 'unreconciled':
                world.process()
                continue
            when = dt.date(2008, month + 1, 28)
            reversal = line.move.cancel(default={
                    'date': when,
                    'period': Period.find(world.company, date=when).id,
                    })
            Move.post([reversal])
            # As the wizard that cancels moves does
            Line.reconcile([line, *(
                        l for l in reversal.lines
                        if l.account == world.payable)])
            world.process()
            pay(instalment, month + 1, sign=-1)
            if again:
                pay(instalment, month + 2)
        return paid

    def fail_payment(self, world, instalment, month):
        "Pay the principal of the instalment with a payment that fails"
        pool = Pool()
        Group = pool.get('account.payment.group')
        Journal = pool.get('account.payment.journal')
        Payment = pool.get('account.payment')
        journal, = Journal.search([])
        group = Group(company=world.company, journal=journal, kind='payable')
        group.save()
        day = dt.date(2008, month, 27)
        payment = Payment(
            company=world.company, journal=journal, kind='payable',
            party=world.leaver, line=instalment.line, date=day,
            amount=instalment.line.credit)
        payment.save()
        Payment.submit([payment])
        Payment.approve([payment])
        Payment.process([payment], lambda: group)
        Payment.succeed([payment])
        Payment.fail([payment])
        world.process()

    @with_setup
    def check_ledger(self, setup, entries, payments):
        pool = Pool()
        Concession = pool.get('prm.concession')
        Currency = pool.get('currency.currency')
        Line = pool.get('account.move.line')
        other, = Currency.search([('code', '=', 'oth')])
        booked = defaultdict(Decimal)
        imputed = defaultdict(Decimal)
        actual = defaultdict(Decimal)
        to_cancel = defaultdict(list)

        def convert(price, month, currency):
            if not currency:
                return price
            return (price / RATES[1 if month < 7 else 7]
                ).quantize(D('0.01'))

        def sell(month, kind, price, *extra):
            when = dt.date(2008, month, 15)
            currency = None
            if kind not in {'move', 'free_service'} and extra[-1]:
                currency = other
            amount = convert(price, month, currency)
            if kind == 'move':
                post_revenue(setup.company, when.isoformat(), amount)
                return
            elif kind in {'invoice', 'credit'}:
                quantity = 1 if kind == 'invoice' else -1
                setup.invoice(
                    (quantity, price), date=when, currency=currency)
                actual[month] += quantity * amount
                return
            imputation_month, delay, *_ = extra
            values = {}
            if kind == 'free_service':
                values['cost'] = amount
            else:
                invoice = setup.invoice(
                    (1, price), date=when, currency=currency)
                values['currency'] = invoice.currency
                values['invoice'] = invoice
                # The actual is the one of the invoice less its credit note
                booked[month] += amount
            concessions = setup.grant(setup.concession(
                    price, kind=kind, date=when,
                    imputation_date=dt.date(2008, imputation_month, 1),
                    **values))
            if delay is None:
                imputed[imputation_month] += amount
            else:
                to_cancel[min(12, month + delay)].append(
                    (concessions, price, currency))

        def take_back(month):
            with unittest.mock.patch.object(
                    pool.get('ir.date'), 'today',
                    return_value=dt.date(2008, month, 20)):
                for concessions, price, currency in to_cancel[month]:
                    Concession.cancel(Concession.browse(concessions))
                    if concessions[0].kind != 'free_service':
                        amount = convert(price, month, currency)
                        booked[month] -= amount
                        actual[month] += amount

        with Transaction().set_context(_skip_warnings=True):
            paid = self.pay_instalments(payments)
            for month in range(1, 13):
                for entry in sorted(e for e in entries if e[0] == month):
                    sell(*entry)
                take_back(month)
        ledger = defaultdict(Decimal)
        for line in Line.search([
                    ('account.type.revenue', '=', True),
                    ('move.state', '=', 'posted'),
                    ]):
            ledger[line.date.month] += line.credit - line.debit
        review = new_review(
            setup.company, start_date=date('2008-01-01'),
            end_date=date('2008-12-31'))

        rows = {int(n[-2:]): m for n, m in get_months().items()}

        for month in range(1, 13):
            row = rows.get(month)
            gross_revenue = ledger[month] + booked[month]
            for name, value in [
                    ('ledger_revenue', ledger[month]),
                    ('booked_concessions', booked[month]),
                    ('gross_revenue', gross_revenue),
                    ('concessions', imputed[month]),
                    ('net_revenue', gross_revenue - imputed[month]),
                    # What was taken back no longer tells what it had paid
                    *([] if any(back for _, _, back, _ in payments) else [
                            ('buyback_principal', paid[month][0]),
                            ('buyback_interest', paid[month][1])]),
                    ('buyback_paid', sum(paid[month])),
                    ('imputed_revenue',
                        gross_revenue - imputed[month] - sum(paid[month])),
                    ('actual', actual[month]),
                    ]:
                with self.subTest(month=month, name=name):
                    self.assertEqual(getattr(row, name, 0), value)
        for name in [
                'gross_revenue', 'net_revenue', 'actual', 'buyback_paid',
                'imputed_revenue']:
            self.assertEqual(
                getattr(review, name),
                sum(getattr(m, name) for m in rows.values()))
        self.assertEqual(review.unexplained, 0)
        for kind, difference in [
                ('concession', review.net_difference),
                ('invoice', review.actual_difference)]:
            self.assertEqual(
                sum(d.amount for d in review.differences if d.kind == kind),
                difference)
