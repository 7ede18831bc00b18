# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from calendar import monthrange
from decimal import Decimal as D
from unittest.mock import patch

from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trytond import backend
from trytond.model.exceptions import AccessError
from trytond.modules.account.tests import create_chart, get_fiscalyear
from trytond.modules.account_invoice.tests import set_invoice_sequences
from trytond.modules.company.tests import (
    create_company, create_employee, set_company)
from trytond.modules.currency.tests import add_currency_rate, create_currency
from trytond.modules.prm.trytond_prm.exceptions import WorkflowAccessError
from trytond.modules.prm.trytond_prm.performance.exceptions import (
    ActionStopError, PerformanceInvoicesError, PlanAccessError,
    RevenueShareError, SeasonalityError, TargetValidationError,
    TeamMemberOverlapError)
from trytond.modules.prm.trytond_prm.performance.seasonality import (
    derive_shares)
from trytond.modules.prm.trytond_prm.performance.smoothing import (
    Month, smoothing)
from trytond.modules.prm.trytond_prm.performance.target import (
    interval_weights, month_weights, spread_months, spread_units,
    week_intervals)
from trytond.modules.prm.trytond_prm.performance.team import surplus_range
from trytond.pool import Pool
from trytond.pyson import PYSONDecoder
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction, check_access

from .tools import SharedMixin, count_statements, get_company

MONTHS = [
    'January', 'February', 'March', 'April', 'May', 'June', 'July', 'August',
    'September', 'October', 'November', 'December']
SERVICES = '0.09 0.08 0.10 0.09 0.08 0.09 0.05 0.03 0.09 0.10 0.10 0.10'
TARGETS = '''
51496.07 45774.29 57217.86 51496.07 45774.29 51496.07
28608.93 17165.36 51496.07 57217.86 57217.86 57217.87
'''
ACTUALS_2007 = '''
49043.88 43594.56 54493.19 49043.87 43594.55 49043.88
27246.61 16347.97 35311.58 35965.53 32136.02 35915.42
'''


def decimals(text):
    return list(map(D, text.split()))


def date(text):
    return dt.date.fromisoformat(text)


def cents(amount):
    return amount.quantize(D('0.01'))


def create_seasonality(company, shares=SERVICES, name="Services"):
    Seasonality = Pool().get('prm.seasonality')
    seasonality, = Seasonality.create([{
                'name': name,
                'company': company.id,
                'lines': [('create', [
                            {'month': i, 'share': share}
                            for i, share in enumerate(decimals(shares), 1)])],
                }])
    return seasonality


def create_target(company, amount, start, end, **values):
    Target = Pool().get('prm.target')
    target, = Target.create([{
                'company': company.id,
                'target': D(amount),
                'start_date': date(start),
                'end_date': date(end),
                **{k: getattr(v, 'id', v) for k, v in values.items()},
                }])
    return target


def setup_accounting(company, *years):
    pool = Pool()
    Account = pool.get('account.account')
    FiscalYear = pool.get('account.fiscalyear')
    if not Account.search([('company', '=', company.id)], limit=1):
        create_chart(company)
    for year in years:
        fiscalyear = set_invoice_sequences(
            get_fiscalyear(company, today=dt.date(year, 1, 1)))
        fiscalyear.save()
        FiscalYear.create_period([fiscalyear])


def create_invoices(company, *rows, post=True):
    "Create the customer invoices of (party, date, *amounts)"
    pool = Pool()
    Account = pool.get('account.account')
    Invoice = pool.get('account.invoice')
    Journal = pool.get('account.journal')
    PaymentTerm = pool.get('account.invoice.payment_term')
    revenue, = Account.search([
            ('type.revenue', '=', True),
            ('closed', '!=', True),
            ('company', '=', company.id)],
        limit=1)
    receivable, = Account.search([
            ('type.receivable', '=', True),
            ('closed', '!=', True),
            ('company', '=', company.id)],
        limit=1)
    journal, = Journal.search([('type', '=', 'revenue')], limit=1)
    term, = PaymentTerm.create([{
                'name': "Direct",
                'lines': [('create', [{'type': 'remainder'}])],
                }])
    invoices = []
    for party, day, *amounts in rows:
        currency = company.currency
        if not isinstance(amounts[-1], str):
            currency = amounts.pop()
        invoices.append({
                'company': company.id,
                'type': 'out',
                'party': party.id,
                'invoice_address': party.addresses[0].id,
                'invoice_date': date(day),
                'journal': journal.id,
                'account': receivable.id,
                'currency': currency.id,
                'payment_term': term.id,
                'lines': [('create', [{
                                'type': 'line',
                                'company': company.id,
                                'currency': currency.id,
                                'account': revenue.id,
                                'quantity': 1 if D(amount) >= 0 else -1,
                                'unit_price': abs(D(amount)),
                                } for amount in amounts])],
                })
    invoices = Invoice.create(invoices)
    if post:
        with Transaction().set_context(_skip_warnings=True):
            Invoice.post(invoices)
    return invoices


def create_parties(count=1):
    Party = Pool().get('party.party')
    return Party.create([
            {'name': f"Party {i}", 'addresses': [('create', [{}])]}
            for i in range(count)])


def create_partners(company, parties, *employees):
    Partner = Pool().get('prm.partner')
    return Partner.create([{
                'company': company.id,
                'party': party.id,
                'start_date': date('2006-01-01'),
                'manager': employee.id,
                } for party, employee in zip(parties, employees)])


def create_product(company, name="Product", cost_price=None):
    pool = Pool()
    Account = pool.get('account.account')
    Category = pool.get('product.category')
    Template = pool.get('product.template')
    Unit = pool.get('product.uom')
    unit, = Unit.search([('name', '=', "Unit")])
    revenue, = Account.search([
            ('type.revenue', '=', True),
            ('closed', '!=', True),
            ('company', '=', company.id)],
        limit=1)
    category, = Category.create([{
                'name': "Account",
                'accounting': True,
                'account_revenue': revenue.id,
                }])
    template, = Template.create([{
                'name': name,
                'account_category': category.id,
                'default_uom': unit.id,
                'type': 'service',
                'products': [('create', [{}])],
                }])
    product, = template.products
    if cost_price is not None:
        product.cost_price = cost_price
        product.save()
    return product


def performances(domain=None, **context):
    Performance = Pool().get('prm.performance')
    with Transaction().set_context(**context):
        return Performance.search(
            domain or [], order=[('date', 'ASC'), ('id', 'ASC')])


class SpreadTestCase(unittest.TestCase):
    "Test the spread of a target without database"

    @given(
        st.decimals(
            min_value=0, max_value=10 ** 9, places=2, allow_nan=False),
        st.dates(min_value=dt.date(2000, 1, 1), max_value=dt.date(2030, 1, 1)),
        st.integers(0, 1200),
        st.one_of(st.none(), st.lists(
                st.integers(0, 100), min_size=12, max_size=12)))
    def test_spread(self, amount, start, days, shares):
        "The months of any period total the amount to the cent"
        if shares:
            if not sum(shares):
                return
            shares = {
                i: D(share) / sum(shares)
                for i, share in enumerate(shares, 1)}
        end = start + dt.timedelta(days=days)

        weights = month_weights(start, end, shares)
        amounts = spread_months(amount, weights, cents)

        self.assertEqual(
            len(weights),
            (end.year - start.year) * 12 + end.month - start.month + 1)
        if amounts is None:
            self.assertFalse(any(w for _, w in weights))
        else:
            self.assertEqual(sum(amounts.values()), amount)
            for month, weight in weights:
                self.assertEqual(month.day, 1)
                if not weight:
                    self.assertEqual(amounts[month], 0)

    @given(
        st.decimals(
            min_value=0, max_value=10 ** 9, places=2, allow_nan=False),
        st.dates(min_value=dt.date(2000, 1, 1), max_value=dt.date(2030, 1, 1)),
        st.integers(0, 400))
    def test_spread_weeks(self, amount, start, days):
        "The weeks of any period follow each other and total the amount"
        end = start + dt.timedelta(days=days)
        shares = dict(enumerate(decimals(SERVICES), 1))

        weeks = week_intervals(start, end)
        amounts = spread_months(
            amount, interval_weights(weeks, shares), cents)

        self.assertEqual(sum(amounts.values()), amount)
        self.assertEqual((weeks[0][0], weeks[-1][1]), (start, end))
        for (_, sunday), (monday, _) in zip(weeks, weeks[1:]):
            self.assertEqual(monday - sunday, dt.timedelta(days=1))
            self.assertEqual(monday.weekday(), 0)

    @given(
        st.integers(0, 10 ** 4), st.integers(0, 800),
        st.booleans())
    def test_spread_units(self, amount, days, weeks):
        "What is counted is spread in units that are close to the parts"
        start = date('2024-01-01')
        end = start + dt.timedelta(days=days)
        shares = dict(enumerate(decimals(SERVICES), 1))
        weights = (interval_weights(week_intervals(start, end), shares)
            if weeks else month_weights(start, end, shares))

        amounts = spread_units(D(amount), weights)

        self.assertEqual(sum(amounts.values()), amount)
        total = sum(weight for _, weight in weights)
        for day, weight in weights:
            self.assertGreaterEqual(amounts[day], 0)
            self.assertLess(abs(amounts[day] - amount * weight / total), 2)

    def test_units(self):
        "The last month of what is counted is not far from the others"
        months = month_weights(date('2024-01-01'), date('2024-12-31'))
        self.assertEqual(
            list(map(int, spread_units(D(10), months[:3]).values())),
            [3, 3, 4])
        # 0.83 until January, 1.67 until February, 2.5 until March…
        self.assertEqual(
            list(map(int, spread_units(D(10), months).values())),
            [1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1])
        self.assertEqual(
            list(map(int, spread_units(D(6), months).values())),
            [0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0])
        self.assertIsNone(
            spread_units(D(6), [(day, D(0)) for day, _ in months]))

    def test_weights(self):
        "A month counts for its days inside the period"
        self.assertEqual(
            month_weights(date('2024-01-17'), date('2024-03-31')), [
                (date('2024-01-01'), D(15) / 31),
                (date('2024-02-01'), D(1)),
                (date('2024-03-01'), D(1)),
                ])

    def test_half(self):
        "A half cent of an equal split is rounded once, to even"
        amounts = spread_months(
            D('0.03'), month_weights(date('2024-01-01'), date('2024-06-30')),
            cents)
        self.assertEqual(
            list(amounts.values()),
            [D(0)] * 5 + [D('0.03')])

    def test_smoothing(self):
        "The smoothing of the worked example"
        months = [
            Month(date(f'2024-{i:02}-01'), D(target), D(actual))
            for i, (target, actual) in enumerate([
                    (80, 90), (100, 120), (60, 30), (60, 60)], 1)]
        # (90 + 100 + 30 + 60) / (4 × 100)
        self.assertEqual(smoothing(months), (D(100), D('0.7'), [
                    (date('2024-01-01'), D(10)),
                    (date('2024-03-01'), D(70)),
                    (date('2024-04-01'), D(40)),
                    ]))

    def test_surplus_range(self):
        "The range needs 6 months and surrounds the total"
        self.assertEqual(surplus_range([D(1)] * 5), (None, None))
        self.assertEqual(surplus_range([D(2)] * 6), (D(12), D(12)))
        low, high = surplus_range([D(i) for i in range(-3, 9)])
        self.assertLess(low, 30)
        self.assertGreater(high, 30)
        self.assertEqual(
            surplus_range([D(i) for i in range(-3, 9)]), (low, high))

    def test_derive_outlier(self):
        "A month far from the median of the years is an outlier"
        flat = [D(10)] * 12
        peak = [D(10)] * 11 + [D(40)]
        shares, outliers = derive_shares(
            {2021: flat, 2022: flat, 2023: peak, 2024: [D(0)] * 12},
            method='median')
        self.assertEqual(outliers, [(2023, 12)])
        self.assertEqual(sum(shares), 1)
        self.assertEqual(shares[0], D('0.083333'))
        # A last share that is too small leaves the remainder to the highest
        shares, _ = derive_shares(
            {2024: [D(10 ** 7)] * 6 + [D(0)] * 5 + [D(1)]})
        # 6 × 0.166667 is 0.000002 too much
        self.assertEqual(
            shares, [D('0.166665')] + [D('0.166667')] * 5 + [0] * 6)
        self.assertEqual(derive_shares({2024: [D(-1)] * 12}), (None, []))

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(
            st.integers(2000, 2020),
            st.lists(
                st.decimals(
                    min_value=-1000, max_value=10 ** 8, places=2,
                    allow_nan=False),
                min_size=12, max_size=12),
            max_size=4),
        st.sampled_from(['mean', 'median']))
    def test_derive_total(self, years, method):
        "The derived shares total exactly 1"
        shares, _ = derive_shares(years, method)
        if shares:
            self.assertEqual(sum(shares), 1)
            self.assertGreaterEqual(min(shares), 0)

    def test_smoothing_without_target(self):
        "There is no smoothing without target"
        for months in [[], [Month(date('2024-01-01'), D(0), D(10))]]:
            self.assertEqual(smoothing(months), (None, None, []))

    @given(st.lists(
            st.tuples(st.integers(0, 10 ** 9), st.integers(-100, 10 ** 9)),
            min_size=1))
    def test_smoothing_bounds(self, figures):
        "The troughs are what the smoothing lacks to be 1"
        level, result, troughs = smoothing([
                Month(i, D(t), D(a)) for i, (t, a) in enumerate(figures)])
        if level is not None:
            self.assertLessEqual(result, 1)
            self.assertEqual(
                result,
                round(1 - sum(a for _, a in troughs)
                    / (len(figures) * level), 6))


class PerformanceTestCase(SharedMixin, unittest.TestCase):
    "Test the performance room"

    @classmethod
    def create_shared(cls, company):
        create_chart(company)
        return super().create_shared(company)

    @with_transaction()
    def test_story(self):
        "The targets and the smoothing of 2007 are those of the story"
        pool = Pool()
        Performance = pool.get('prm.performance')
        Plan = pool.get('prm.plan')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2007)
            seasonality = create_seasonality(company)
            target = create_target(
                company, '572178.60', '2007-01-01', '2007-12-31',
                seasonality=seasonality)
            self.assertEqual(
                [l.date for l in target.lines],
                [dt.date(2007, i, 1) for i in range(1, 13)])
            self.assertEqual(
                [l.amount for l in target.lines], decimals(TARGETS))

            party, = create_parties()
            create_invoices(company, *(
                    (party, f'2007-{i:02}-{monthrange(2007, i)[1]}', amount)
                    for i, amount in enumerate(ACTUALS_2007.split(), 1)))
            months = performances()
            self.assertEqual(len(months), 12)
            self.assertEqual(
                [m.date for m in months], [l.date for l in target.lines])
            self.assertEqual({m.scope for m in months}, {'company'})
            self.assertEqual([m.target for m in months], decimals(TARGETS))
            self.assertEqual(
                [m.actual for m in months], decimals(ACTUALS_2007))
            self.assertEqual(
                [m.gap for m in months], [
                    a - t for a, t in zip(
                        decimals(ACTUALS_2007), decimals(TARGETS))])
            self.assertEqual(months[-1].cumulative_target, D('572178.60'))
            self.assertEqual(
                months[-1].cumulative_actual, sum(decimals(ACTUALS_2007)))
            self.assertEqual(
                months[-1].cumulative_gap,
                sum(decimals(ACTUALS_2007)) - D('572178.60'))
            self.assertEqual(months[0].attainment, D('0.9524'))
            self.assertEqual(months[0].currency, company.currency)

            result = Performance.smoothing(
                company, date('2007-01-01'), date('2007-12-31'))
            self.assertEqual(result.level, D('57217.87'))
            self.assertEqual(result.smoothing, D('0.687048'))
            self.assertEqual(
                sum(amount for _, amount in result.troughs),
                12 * D('57217.87') - sum(decimals(ACTUALS_2007)))

            plan, = Plan.create([{
                        'name': "PAC 2007",
                        'company': company.id,
                        'start_date': date('2007-01-01'),
                        'end_date': date('2007-12-31'),
                        }])
            self.assertEqual(plan.level, D('57217.87'))
            self.assertEqual(plan.smoothing, D('0.687048'))

    @with_transaction()
    def test_smoothing_report(self):
        "Each trough lists the actions that fill it"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Plan = pool.get('prm.plan')
        Smoothing = pool.get('prm.smoothing')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            create_target(
                company, '1200', '2024-01-01', '2024-12-31',
                seasonality=create_seasonality(
                    company, '0.05 0.05 ' + '0.09 ' * 10))
            party, = create_parties()
            create_invoices(
                company, (party, '2024-01-15', '200'),
                (party, '2024-02-15', '8'))
            plan, = Plan.create([{
                        'name': "PAC 2024",
                        'company': company.id,
                        'start_date': date('2024-01-01'),
                        'end_date': date('2024-12-31'),
                        }])
            offer, fair, _ = Action.create([{
                        'plan': plan.id,
                        'name': "Offer",
                        'expected_revenue': D('100.01'),
                        'actual_revenue': D('8'),
                        'fills': ['2', '3'],
                        }, {
                        'plan': plan.id,
                        'name': "Fair",
                        'expected_revenue': D('200'),
                        'fills': ['3'],
                        }, {
                        'plan': plan.id,
                        'name': "Nothing to fill",
                        'expected_revenue': D('500'),
                        }])
            months = Smoothing.search([])
            self.assertEqual(len(months), 12)
            self.assertEqual({m.level for m in months}, {D(108)})
            self.assertEqual(
                [m.trough for m in months[:3]], [D(0), D(100), D(108)])
            self.assertEqual(
                {m.smoothing for m in months}, {round(
                        D(108 + 8) / (12 * 108), 6)})
            self.assertEqual(
                [m.actions for m in months[:4]],
                [(), (offer,), (fair, offer), ()])
            self.assertEqual(
                [m.expected for m in months[:4]],
                [D(0), D('50.00'), D('250.01'), D(0)])
            self.assertEqual(
                [m.obtained for m in months[:4]],
                [D(0), D('4'), D('4'), D(0)])

            with Transaction().set_context(
                    start_date=date('2024-01-01'),
                    end_date=date('2024-02-29')):
                months = Smoothing.search([])
                self.assertEqual(len(months), 2)
                self.assertEqual({m.level for m in months}, {D(60)})
                self.assertEqual(
                    {m.smoothing for m in months}, {round(D(68) / 120, 6)})

    @with_transaction()
    def test_months(self):
        "The months without sales count and the years do not mix"
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2023, 2024)
            create_target(company, '1200', '2024-01-01', '2024-12-31')
            party, = create_parties()
            create_invoices(
                company, (party, '2023-02-10', '50', '25.5'),
                (party, '2024-02-10', '300'),
                (party, '2024-02-11', '-40'),
                (party, '2024-12-31', '10'))
            create_invoices(company, (party, '2024-03-01', '7'), post=False)

            months = {m.date: m for m in performances()}
            self.assertEqual(len(months), 13)
            february = months[date('2023-02-01')]
            self.assertEqual(february.actual, D('75.50'))
            self.assertEqual(february.target, D(0))
            self.assertIsNone(february.attainment)
            january = months[date('2024-01-01')]
            self.assertEqual(january.actual, D(0))
            self.assertEqual(january.gap, D(-100))
            february = months[date('2024-02-01')]
            self.assertEqual(february.actual, D(260))
            self.assertEqual(february.gap, D(160))
            self.assertEqual(february.attainment, D('2.6'))
            self.assertEqual(february.cumulative_actual, D(260))
            self.assertEqual(february.cumulative_target, D(200))
            self.assertEqual(months[date('2024-03-01')].gap, D(-100))
            self.assertEqual(
                months[date('2024-12-01')].cumulative_actual, D(270))

            months = performances(
                start_date=date('2023-02-15'), end_date=date('2024-02-01'))
            self.assertEqual(
                [m.date for m in months],
                list(map(date, ['2023-02-01', '2024-01-01', '2024-02-01'])))
            self.assertEqual(
                [m.cumulative_actual for m in months],
                [D('75.50'), D('75.50'), D('335.50')])

    @with_transaction()
    def test_landing(self):
        "The landing is a range between the worst and the best month"
        pool = Pool()
        Context = pool.get('prm.performance.context')
        SurplusContext = pool.get('prm.team.surplus.context')
        company = get_company()

        def period(Context=Context):
            return Context.default_start_date(), Context.default_end_date()

        with set_company(company):
            setup_accounting(company, 2019, 2020)
            create_target(company, '1200', '2020-01-01', '2020-12-31')
            # The year of the last target while there is none for this one
            for Model in [Context, SurplusContext]:
                self.assertEqual(
                    period(Model),
                    (dt.date(2020, 1, 1), dt.date(2020, 12, 31)))
            party, = create_parties()
            create_invoices(
                company, (party, '2019-01-31', '60'),
                (party, '2020-01-31', '90'), (party, '2020-02-01', '120'),
                (party, '2020-03-01', '80'))

            months = {m.date.month: m for m in performances(
                    start_date=date('2020-01-01'),
                    end_date=date('2020-12-31'))}
            self.assertEqual(len(months), 12)
            self.assertEqual(months[1].subject_name, company.rec_name)
            for Model in [pool.get('prm.performance'), pool.get('prm.target')]:
                count = Model.search([], count=True)
                for operator, value, found in [
                        ('=', company.rec_name, count), ('=', "None", 0),
                        ('!=', "None", count), ('!=', company.rec_name, 0)]:
                    with self.subTest(
                            model=Model.__name__,
                            operator=operator, value=value):
                        self.assertEqual(
                            Model.search(
                                [('rec_name', operator, value)], count=True),
                            found)
            self.assertEqual(
                [m.id for m in pool.get('prm.performance').search(
                        [('subject_name', '=', company.rec_name)])],
                [m.id for m in pool.get('prm.performance').search([])])
            self.assertEqual(months[1].last_year, D(60))
            # (90 - 60) / 60
            self.assertEqual(months[1].growth, D('0.5'))
            self.assertEqual(months[2].last_year, D(0))
            self.assertIsNone(months[2].growth)
            self.assertEqual(months[12].cumulative_last_year, D(60))

            def landing(month):
                return month.landing_low, month.landing_high

            self.assertEqual(months[2].landing_months, 2)
            self.assertEqual(landing(months[2]), (None, None))
            # 290 and the 900 of the 9 months left at 80 % or at 120 %
            self.assertEqual(landing(months[3]), (D(1010), D(1370)))
            # 290 and the 800 of the 8 months left at 0 % or at 120 %
            self.assertEqual(landing(months[4]), (D(290), D(1250)))
            self.assertEqual(landing(months[12]), (D(290), D(290)))
            self.assertEqual(months[12].landing_months, 12)

            # A month without target lands too when it is over
            employee = create_employee(company)
            create_target(
                company, '300', '2020-01-01', '2020-12-31',
                scope='employee', employee=employee,
                seasonality=create_seasonality(
                    company, '0.5 0.3 0.2' + ' 0' * 9))
            months = performances(
                scope='employee', start_date=date('2020-01-01'),
                end_date=date('2020-12-31'))
            self.assertEqual(landing(months[11]), (D(0), D(0)))
            self.assertEqual(months[11].landing_months, 3)

            today = dt.date.today()
            create_target(
                company, '1200', f'{today.year}-01-01',
                f'{today.year}-12-31')
            self.assertEqual(
                period(),
                (dt.date(today.year, 1, 1), dt.date(today.year, 12, 31)))
            first = today.replace(day=1)
            self.assertEqual(
                period(SurplusContext),
                (first.replace(year=today.year - 1),
                    first - dt.timedelta(days=1)))
            month = performances([('date', '=', today.replace(day=1))])[0]
            self.assertEqual(landing(month), (None, None))
            self.assertIsNone(month.landing_months)

    @with_transaction()
    def test_margin(self):
        "The margin is the revenue less the cost where it is known"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.invoice.line')
        Performance = pool.get('prm.performance')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            employee = create_employee(company)
            party, = create_parties()
            create_partners(company, [party], employee)
            known = create_product(company, cost_price=D('33.335'))
            unknown = create_product(company, name="Unknown")
            invoices = create_invoices(
                company, (party, '2024-01-15', '100', '200', '400'),
                (party, '2024-01-16', '-100'), post=False)
            lines = invoices[0].lines
            Line.write([lines[0], invoices[1].lines[0]], {
                    'product': known.id, 'unit': known.default_uom.id},
                [lines[1]], {
                    'product': unknown.id, 'unit': known.default_uom.id})
            Line.write([lines[0]], {'quantity': 3})
            with Transaction().set_context(_skip_warnings=True):
                Invoice.post(invoices)
            for scope in ['company', 'employee', 'partner']:
                month, = performances(scope=scope, measure='margin')
                # 3 × 100 - 100.00 less 1 × 100 - 33.34 (half to even)
                self.assertEqual(month.actual, D('133.34'), scope)
                self.assertEqual(month.currency, company.currency)
            self.assertEqual(
                set(Performance.get_invoices([month])),
                {i.id for i in invoices})
            self.assertEqual(performances(measure='revenue')[0].actual, D(800))

    @with_transaction()
    def test_revenue_share(self):
        "A shared euro is counted once, whatever the split"
        pool = Pool()
        Share = pool.get('prm.revenue.share')
        Team = pool.get('prm.team')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            employees = [
                create_employee(company, name) for name in "ABCD"]
            Team.create([{
                        'name': "All",
                        'company': company.id,
                        'members': [('create', [
                                    {'employee': e.id} for e in employees])],
                        }])
            parties = create_parties(2)
            partner, other = create_partners(
                company, parties, employees[0], employees[0])
            invoices = create_invoices(
                company, (parties[0], '2024-01-15', '100.01', '0.01'),
                (parties[0], '2024-01-16', '-33.33'),
                (parties[0], '2024-02-01', '99.99'),
                (parties[1], '2024-01-15', '7'))

            def create_shares(*shares, **values):
                return Share.create([{
                            'partner': partner.id,
                            'employee': employee.id,
                            'percentage': percentage,
                            'start_date': date('2024-01-01'),
                            'end_date': date('2024-01-31'),
                            **values,
                            } for employee, percentage in zip(
                                employees[1:], shares)])

            def figures(scope='employee'):
                return {
                    (m.subject.rec_name, m.date.month): m.actual
                    for m in performances(scope=scope)}

            with patch.object(
                    pool.get('prm.partner'), 'lock') as lock:
                create_shares(D('0.25'), D('0.5'))
            lock.assert_called_with({partner})
            # The days bring 100.02 and -33.33. B has 25 % of each, rounded
            # half to even: 25.00 - 8.33. C has what 75 % of each gives more:
            # (75.02 - 25.00) - (25.00 - 8.33). The manager keeps the rest.
            self.assertEqual(figures(), {
                    ("A", 1): D('16.67') + D(7), ("B", 1): D('16.67'),
                    ("C", 1): D('33.35'), ("A", 2): D('99.99')})
            with self.assertRaisesRegex(
                    RevenueShareError,
                    'Party 0" total 125 % on 01/31/2024'):
                create_shares(
                    D('0.5'), start_date=date('2024-01-31'), end_date=None)

            @settings(max_examples=8, deadline=None)
            @given(st.lists(
                    st.decimals(
                        min_value='0.0001', max_value='0.3333', places=4),
                    min_size=1, max_size=3))
            def check(percentages):
                Share.delete(Share.search([]))
                create_shares(*percentages)
                by_employee = figures()
                for month, total in figures('company').items():
                    amounts = [
                        a for (_, m), a in by_employee.items()
                        if m == month[1]]
                    self.assertEqual(sum(amounts), total)
                    self.assertEqual(amounts, list(map(cents, amounts)))
                    self.assertEqual(
                        figures('team')["All", month[1]], total)
                self.assertEqual(
                    figures('partner')[partner.rec_name, 1], D('66.69'))

            check()
            Share.delete(Share.search([]))
            # Everything is given: nothing remains to the manager
            create_shares(D('0.3333'), D('0.3333'), D('0.3334'))
            self.assertEqual(figures()["A", 1], D(7))
            Performance = pool.get('prm.performance')
            row, = performances(
                [('date', '=', date('2024-01-01'))],
                scope='employee', employee=employees[1].id)
            self.assertEqual(
                sorted(Performance.get_invoices([row])),
                [i.id for i in invoices[:2]])

    @with_transaction()
    def test_scopes(self):
        "A euro counts for the partner, employee and team of its date"
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        Performance = pool.get('prm.performance')
        Team = pool.get('prm.team')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            john, jane = (
                create_employee(company, name) for name in ["John", "Jane"])
            parties = create_parties(3)
            partners = create_partners(company, parties, john, jane)
            manager, = partners[0].managers
            manager.end_date = date('2024-02-14')
            manager.save()
            Manager.create([{
                        'partner': partners[0].id,
                        'employee': jane.id,
                        'start_date': date('2024-02-15'),
                        }])
            direct, indirect = Team.create([{
                        'name': "Direct",
                        'company': company.id,
                        'members': [('create', [
                                    {'employee': john.id},
                                    {'employee': jane.id,
                                        'end_date': date('2024-02-29')}])],
                        }, {
                        'name': "Indirect",
                        'company': company.id,
                        'members': [('create', [
                                    {'employee': jane.id,
                                        'start_date': date('2024-03-01')}])],
                        }])
            invoices = create_invoices(
                company,
                (parties[0], '2024-02-14', '1'),
                (parties[0], '2024-02-15', '10'),
                (parties[1], '2024-02-15', '100'),
                (parties[2], '2024-02-15', '1000'),
                (parties[0], '2024-03-15', '10000'),
                )

            def figures(scope):
                return {
                    (m.subject, m.date.month): m.actual
                    for m in performances(scope=scope)}

            self.assertEqual(figures('company'), {
                    (company, 2): D(1111), (company, 3): D(10000)})
            self.assertEqual(figures('partner'), {
                    (partners[0], 2): D(11),
                    (partners[0], 3): D(10000),
                    (partners[1], 2): D(100)})
            self.assertEqual(figures('employee'), {
                    (john, 2): D(1),
                    (jane, 2): D(110),
                    (jane, 3): D(10000)})
            self.assertEqual(figures('team'), {
                    (direct, 2): D(111),
                    (indirect, 3): D(10000)})
            self.assertEqual(len(performances()), 2)
            self.assertEqual(
                [m.actual for m in performances(
                        scope='employee', employee=john.id)], [D(1)])

            create_target(
                company, '90', '2024-02-01', '2024-02-29', scope='employee',
                employee=jane)
            rows = performances([('scope', '=', 'employee')])
            self.assertEqual(
                [(m.employee, m.date.month, m.gap) for m in rows],
                [(jane, 2, D(20)), (jane, 3, D(10000))])
            self.assertEqual(rows[0].weighted_pipeline, D(0))
            self.assertEqual(len({m.id for m in performances()}), 4)
            self.assertEqual(
                set(Performance.get_invoices(rows[:1])),
                {invoices[1].id, invoices[2].id})
            self.assertEqual(
                set(Performance.get_invoices(
                        performances(scope='company')[:1])),
                {i.id for i in invoices[:4]})

    @with_transaction()
    def test_surplus(self):
        "The surplus is the team less what each would bring alone"
        pool = Pool()
        Member = pool.get('prm.team.member')
        Team = pool.get('prm.team')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2023, 2024)
            john, jane = (
                create_employee(company, name) for name in ["John", "Jane"])
            parties = create_parties(2)
            create_partners(company, parties, john, jane)
            team, empty = Team.create([
                    {'name': name, 'company': company.id}
                    for name in ["Direct", "Empty"]])
            Member.create([{
                        'team': team.id,
                        'employee': john.id,
                        'baseline': D('62'),
                        'start_date': date('2024-01-11'),
                        }, {
                        'team': team.id,
                        'employee': jane.id,
                        'start_date': date('2024-01-01'),
                        'end_date': date('2024-02-15'),
                        }])
            create_invoices(
                company,
                (parties[1], '2023-01-31', '20'),
                (parties[1], '2023-02-15', '5'),
                (parties[1], '2023-02-16', '1000'),
                (parties[0], '2024-01-10', '500'),
                (parties[0], '2024-01-11', '60'),
                (parties[1], '2024-01-15', '40'),
                (parties[1], '2024-02-16', '700'),
                (parties[0], '2024-02-28', '90'))
            with Transaction().set_context(
                    start_date=date('2024-01-01'),
                    end_date=date('2024-02-29')):
                team, empty = Team.browse([team, empty])
                # 60 + 40 + 90
                self.assertEqual(team.surplus_actual, D(190))
                # 62 × 21 / 31 + 20, then 62 + 5
                self.assertEqual(team.surplus_baseline, D(129))
                self.assertEqual(team.surplus, D(61))
                self.assertEqual(team.surplus_method, 'mixed')
                self.assertEqual(team.surplus_months, 2)
                self.assertEqual(team.surplus_missing, 0)
                self.assertIsNone(team.surplus_low)
                self.assertEqual(empty.surplus_months, 0)
                self.assertIsNone(empty.surplus)
                self.assertIsNone(empty.surplus_method)
            with Transaction().set_context(
                    start_date=date('2024-01-01'),
                    end_date=date('2024-06-30')):
                team, = Team.browse([team])
                self.assertEqual(team.surplus_months, 6)
                self.assertLess(team.surplus_low, team.surplus_high)
            with count_statements() as one:
                Team.read([team.id], list(Team._fields))
            with count_statements() as two:
                Team.read([team.id, empty.id], list(Team._fields))
            self.assertLessEqual(len(two), len(one))

    @with_transaction()
    def test_vacancy(self):
        "The cost of a vacancy is computed from its sources"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Reason = pool.get('prm.partner.end_reason')
        Vacancy = pool.get('prm.vacancy')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2023, 2024)
            john, jane = (
                create_employee(company, name) for name in ["John", "Jane"])
            parties = create_parties(2)
            lost, kept = create_partners(company, parties, john, john)
            Partner.onboard([lost, kept])
            reason, = Reason.create([{'name': "Followed"}])
            Partner.write([lost], {
                    'end_date': date('2024-09-30'), 'end_reason': reason.id})
            Partner.end([lost])
            create_target(
                company, '12000', '2023-06-01', '2024-05-31',
                scope='employee', employee=john)
            create_invoices(
                company,
                (parties[0], '2023-06-30', '7'),
                (parties[0], '2023-07-01', '3000'),
                (parties[1], '2024-03-01', '600'))
            values = {
                'company': company.id,
                'employee': john.id,
                'left_date': date('2024-06-30'),
                'replaced_date': date('2024-09-16'),
                'ramp_up_months': 3,
                'margin_rate': D('0.4'),
                'recruitment_cost': D('500'),
                'manager_hours': D('10'),
                'manager_hourly_cost': D('45.5'),
                }
            john.end_date = date('2024-06-30')
            left = Vacancy(employee=john)
            left.on_change_employee()
            self.assertEqual(left.left_date, john.end_date)
            vacancy, typed, open_, other = Vacancy.create([
                    values,
                    dict(values, monthly_target=D(2000)),
                    dict(values, replaced_date=None,
                        left_date=dt.date.today()),
                    dict(values, employee=jane.id),
                    ])
            Vacancy.compute([vacancy, typed, open_, other])
            self.assertEqual(vacancy.monthly_target, D(1000))
            # 1000 × 0.4 × (1 + 1 + 15 / 30)
            self.assertEqual(vacancy.vacancy_cost, D('1000'))
            # 1000 × 0.4 × (5 / 6 + 3 / 6 + 1 / 6)
            self.assertEqual(vacancy.ramp_up_cost, D('600'))
            self.assertEqual(
                [s.rate for s in vacancy.ramp_up],
                [D('0.1667'), D('0.5'), D('0.8333')])
            self.assertEqual(
                vacancy.monthly_target_source,
                "Mean of the targets of 12 months")
            self.assertEqual(
                vacancy.vacancy_source, "2.50 months at usd400.00 of margin")
            self.assertEqual(
                vacancy.lost_partners_source, lost.rec_name)
            self.assertEqual(vacancy.gestures_source, "")
            self.assertEqual(vacancy.lost_partners_cost, D('1200'))
            self.assertEqual(vacancy.gestures_cost, D(0))
            self.assertEqual(vacancy.manager_cost, D('455'))
            self.assertEqual(
                vacancy.total_cost,
                D(1000 + 600 + 1200 + 500 + 455))
            self.assertEqual(typed.vacancy_cost, D(2000))
            self.assertEqual(open_.vacancy_cost, D(0))
            self.assertEqual(open_.ramp_up_cost, D(0))
            self.assertEqual(other.monthly_target, D(0))
            # The means are those of the months that the employee worked
            revenue, = Vacancy.create([
                    dict(values, left_date=date('2024-05-31'),
                        employee=create_employee(company, "Joe").id)])
            Target = pool.get('prm.target')
            create_target(
                company, '600', '2024-03-01', '2024-05-31',
                scope='employee', employee=revenue.employee)
            Vacancy.compute([revenue])
            self.assertEqual(revenue.monthly_target, D(200))
            Target.delete(Target.search([]))
            revenue, = Vacancy.create([
                    dict(values, left_date=date('2024-05-31'))])
            Vacancy.compute([revenue])
            # 3607 from June to April
            self.assertEqual(revenue.monthly_target, D('327.91'))
            self.assertEqual(
                revenue.monthly_target_source,
                "Mean of the revenue of 11 months")
            # The partners that were handed over before the last day
            manager, = lost.managers
            manager.end_date = date('2024-06-14')
            manager.save()
            for handover, cost in [(None, 0), ('2024-06-01', 1200)]:
                vacancy.handover_date = handover and date(handover)
                vacancy.save()
                Vacancy.compute([vacancy])
                self.assertEqual(vacancy.lost_partners_cost, cost)
            vacancy.ramp_up = [{'month': 1, 'rate': D('0.75')}]
            vacancy.save()
            Vacancy.compute([vacancy])
            # 1000 × 0.4 × 0.25
            self.assertEqual(vacancy.ramp_up_cost, D('100'))
            counts = []
            for number in [2, 10]:
                with count_statements() as create:
                    vacancies = Vacancy.create([values] * number)
                with count_statements() as read:
                    Vacancy.read(
                        [v.id for v in vacancies], list(Vacancy._fields))
                with count_statements() as compute:
                    Vacancy.compute(Vacancy.browse(vacancies))
                counts.append([
                        len([s for s in statements
                                if not s.startswith(('INSERT', 'UPDATE'))])
                        for statements in [create, read, compute]])
            for few, many in zip(*counts):
                self.assertLessEqual(many, few)

    @with_transaction()
    def test_seasonality_derive(self):
        "A seasonality is derived from the revenue of past years"
        pool = Pool()
        Derive = pool.get('prm.seasonality.derive', type='wizard')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2023, 2024)
            party, = create_parties()
            create_invoices(
                company,
                (party, '2023-02-01', '100'), (party, '2023-03-01', '200'),
                (party, '2024-02-01', '50'), (party, '2024-03-01', '50'),
                (party, '2024-04-01', '-5'))
            session_id, _, _ = Derive.create()
            wizard = Derive(session_id)
            wizard.start.name = "Derived"
            wizard.start.company = company
            wizard.start.first_year = 2022
            wizard.start.last_year = 2024
            wizard.start.method = 'mean'
            wizard.start.scope = 'company'
            Seasonality = pool.get('prm.seasonality')
            seasonality, = Seasonality.create([wizard.get_values()])
            # (1 / 3 + 1 / 2) / 2
            self.assertEqual(seasonality.shares[2], D('0.416667'))
            self.assertEqual(seasonality.shares[3], D('0.583333'))
            self.assertEqual(seasonality.shares[4], D(0))
            self.assertEqual(seasonality.total, 1)
            self.assertEqual(
                seasonality.description,
                "Mean of the shares of the revenue of 2023, 2024.\n"
                "Without revenue, counted as zero: January 2023, "
                + ', '.join(f"{m} 2023" for m in MONTHS[3:])
                + ", January 2024, "
                + ', '.join(f"{m} 2024" for m in MONTHS[3:]) + ".")
            # The year that is not over is left out
            with patch.object(
                    pool.get('prm.seasonality.derive.start'),
                    'default_last_year', return_value=2023):
                values = wizard.get_values()
            # 1 / 3
            self.assertEqual(
                values['lines'][0][1][1]['share'], D('0.333333'))
            self.assertIn(
                "Left out because it is not over: 2024.",
                values['description'])
            team, = pool.get('prm.team').create([
                    {'name': "Direct", 'company': company.id}])
            wizard.start.scope = 'team'
            wizard.start.team = team
            with self.assertRaisesRegex(
                    SeasonalityError, "no revenue from 2022 to 2024"):
                wizard.get_values()
            wizard.start.scope = 'company'
            wizard.start.last_year = 2022
            with self.assertRaisesRegex(
                    SeasonalityError, "no revenue from 2022 to 2022"):
                wizard.get_values()

    @with_transaction()
    def test_target_renew(self):
        "The targets are renewed for the next year with a growth"
        Target = Pool().get('prm.target')
        company = get_company()
        with set_company(company):
            target = create_target(
                company, '1000.01', '2024-02-01', '2024-02-29',
                floor=D(900))
            new, = Target.renew([target], D('0.05'))
            self.assertEqual(new.start_date, date('2025-02-01'))
            self.assertEqual(new.end_date, date('2025-02-28'))
            self.assertEqual(new.target, D('1050.01'))
            self.assertEqual(new.floor, D(945))
            self.assertIsNone(new.stretch)
            line, = new.lines
            self.assertEqual(line.amount, D('1050.01'))
            self.assertEqual(line.date, date('2025-02-01'))

    @with_transaction()
    def test_unfinished(self):
        "The unfinished work shows what it defers, the plan its focus"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        ActWindow = pool.get('ir.action.act_window')
        ModelData = pool.get('ir.model.data')
        Plan = pool.get('prm.plan')
        company = get_company()
        register = ActWindow(
            ModelData.get_id('prm.act_plan_action_unfinished'))
        domain = PYSONDecoder().decode(register.domain)
        with set_company(company):
            plan, empty = Plan.create([{
                        'company': company.id,
                        'name': name,
                        'start_date': date('2024-01-01'),
                        'end_date': date('2024-12-31'),
                        } for name in ["PAC", "Empty"]])
            fair, guide = Action.create([{
                        'plan': plan.id,
                        'name': "Fair",
                        'hours_spent': D('10.5'),
                        'expected_revenue': D(100),
                        }, {
                        'plan': plan.id,
                        'name': "Guide",
                        'core': False,
                        'hours_spent': D('20.5'),
                        'expected_revenue': D(100),
                        'actual_revenue': D(30),
                        'why': "Not the core business",
                        }])
            Action.abandon([guide])
            self.assertEqual(guide.deferred_revenue, D(70))
            self.assertIsNone(fair.deferred_revenue)
            self.assertEqual(plan.focus, D('0.3387'))
            self.assertIsNone(empty.focus)

            self.assertEqual(Action.search(domain), [guide])
            for step in [Plan.approve, Plan.run, Plan.close]:
                step([plan])
            self.assertEqual(set(Action.search(domain)), {fair, guide})

    @with_transaction()
    def test_category(self):
        "A category counts the products of its children once"
        pool = Pool()
        Account = pool.get('account.account')
        Category = pool.get('product.category')
        Derive = pool.get('prm.seasonality.derive', type='wizard')
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.invoice.line')
        Performance = pool.get('prm.performance')
        Template = pool.get('product.template')
        Unit = pool.get('product.uom')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            hour, = Unit.search([('name', '=', "Hour")])
            day, = Unit.search([('name', '=', "Day")])
            services, = Category.create([{'name': "Services"}])
            training, other = Category.create([
                    {'name': "Training", 'parent': services.id},
                    {'name': "Other"}])
            revenue, = Account.search([
                    ('type.revenue', '=', True),
                    ('closed', '!=', True),
                    ('company', '=', company.id)],
                limit=1)
            account_category, = Category.create([{
                        'name': "Account",
                        'accounting': True,
                        'account_revenue': revenue.id,
                        }])
            template, = Template.create([{
                        'name': "Course",
                        'account_category': account_category.id,
                        'default_uom': hour.id,
                        'type': 'service',
                        'categories': [('add', [services.id, training.id])],
                        'products': [('create', [{}])],
                        }])
            party, = create_parties()
            invoice, credit_note, plain = create_invoices(
                company, (party, '2024-01-15', '800', '3'),
                (party, '2024-01-16', '-100'),
                (party, '2024-01-17', '5'), post=False)
            product, = template.products
            Line.write([invoice.lines[0]], {
                    'product': product.id, 'unit': day.id})
            Line.write([credit_note.lines[0]], {
                    'product': product.id, 'unit': hour.id})
            with Transaction().set_context(_skip_warnings=True):
                Invoice.post([invoice, credit_note, plain])
            for measure, amount in [('revenue', '1200'), ('quantity', '12')]:
                for category in [services, training, other]:
                    create_target(
                        company, amount, '2024-01-01', '2024-12-31',
                        scope='category', category=category, measure=measure)

            def figures(measure):
                return {
                    m.category.name: m.actual
                    for m in performances([
                            ('scope', '=', 'category'),
                            ('measure', '=', measure),
                            ('date', '=', date('2024-01-01')),
                            ])}

            self.assertEqual(figures('revenue'), {
                    "Services": D(700), "Training": D(700), "Other": D(0)})
            # A day is 8 hours in the units of Tryton's tests or 24
            hours = D(str(day.factor / hour.factor)).quantize(D(1)) - 1
            self.assertEqual(figures('quantity'), {
                    "Services": hours, "Training": hours, "Other": D(0)})
            rows = performances(
                [('category', '=', services.id), ('actual', '>', 0)],
                measure='revenue')
            self.assertEqual(
                set(Performance.get_invoices(rows)),
                {invoice.id, credit_note.id})
            self.assertEqual(
                [m.actual for m in performances(
                        [('date', '=', date('2024-01-01'))],
                        scope='company', measure='quantity')], [hours])
            month, = performances(
                [('date', '=', date('2024-01-01'))], scope='company',
                measure='quantity')
            self.assertIsNone(month.currency)
            # The line of the plain invoice has no product
            self.assertEqual(
                set(Performance.get_invoices([month])),
                {invoice.id, credit_note.id})
            wizard = Derive(Derive.create()[0])
            wizard.start.name = "Services"
            wizard.start.company = company
            wizard.start.first_year = wizard.start.last_year = 2024
            wizard.start.method = 'mean'
            wizard.start.scope = 'category'
            wizard.start.category = services
            self.assertEqual(wizard.get_years(), {
                    2024: [D(700), *[D(0)] * 11]})
            ids = [m.id for m in performances()]
            self.assertEqual(len(set(ids)), len(ids))
            self.assertLess(max(ids), 2 ** 53)

    @with_transaction()
    def test_counts(self):
        "The interactions and the new partners are counted"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        Team = pool.get('prm.team')
        company = get_company()
        with set_company(company):
            jane = create_employee(company, "Jane")
            team, = Team.create([{
                        'name': "Direct",
                        'company': company.id,
                        'members': [('create', [{'employee': jane.id}])],
                        }])
            parties = create_parties(3)
            partners = create_partners(company, parties, jane, jane, jane)
            Partner.write(partners, {'start_date': date('2024-03-31')})
            Partner.onboard(partners[:2])
            channel, = Channel.search([], limit=1)
            interactions = Interaction.create([{
                        'company': company.id,
                        'party': parties[0].id,
                        'partner': partners[0].id,
                        'employee': jane.id,
                        'channel': channel.id,
                        'direction': 'out',
                        'population': 'partner',
                        'date': dt.datetime(2024, month, 29, 23, 30),
                        } for month in [2, 3, 3]])
            Interaction.do(interactions[:2])
            for scope, subject in [
                    ('company', {}), ('team', {'team': team}),
                    ('employee', {'employee': jane})]:
                for measure, amount in [
                        ('interactions', '10'), ('new_partners', '4')]:
                    create_target(
                        company, amount, '2024-01-01', '2024-03-31',
                        scope=scope, measure=measure, **subject)
            for scope in ['company', 'team', 'employee']:
                for measure, targets, actuals in [
                        ('interactions', [3, 3, 4], [0, 1, 1]),
                        ('new_partners', [1, 1, 2], [0, 0, 2])]:
                    rows = performances([
                            ('scope', '=', scope),
                            ('measure', '=', measure)])
                    self.assertEqual([m.target for m in rows], targets)
                    self.assertEqual([m.actual for m in rows], actuals)
                    self.assertEqual(
                        [m.actual for m in performances(
                                [('date', '>=', date('2024-01-01'))],
                                scope=scope, measure=measure)], actuals)
            Invoices = pool.get('prm.performance.invoices', type='wizard')
            session_id, _, _ = Invoices.create()
            with Transaction().set_context(
                    active_model='prm.performance', active_id=rows[0].id,
                    active_ids=[rows[0].id]), \
                    self.assertRaisesRegex(
                        PerformanceInvoicesError, 'are not made of invoices'):
                Invoices.execute(session_id, {}, 'open_')
            rows = performances(scope='partner', measure='interactions')
            self.assertEqual(
                [(m.partner, m.date, m.actual) for m in rows], [
                    (partners[0], date('2024-02-01'), D(1)),
                    (partners[0], date('2024-03-01'), D(1))])
            with self.assertRaisesRegex(
                    TargetValidationError, '"New Partners" of the target'):
                create_target(
                    company, '1', '2024-01-01', '2024-12-31',
                    scope='partner', partner=partners[0],
                    measure='new_partners')

    @with_transaction()
    def test_currency(self):
        "A foreign invoice counts at the rate of its date, as it was posted"
        Invoice = Pool().get('account.invoice')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            add_currency_rate(company.currency, D(1), date('2024-01-01'))
            dollar = create_currency('usd')
            add_currency_rate(dollar, D('1.1'), date('2024-01-01'))
            add_currency_rate(dollar, D('1.3'), date('2024-02-01'))
            party, = create_parties()
            create_partners(company, [party], create_employee(company))
            invoices = create_invoices(
                company,
                (party, '2024-01-31', '100', '33.33', dollar),
                (party, '2024-01-31', '1000'),
                (party, '2024-02-01', '100', dollar))
            for cached in [True, False]:
                if not cached:
                    Invoice.write(invoices, {'untaxed_amount_cache': None})
                for scope in ['company', 'partner']:
                    self.assertEqual(
                        [m.actual for m in performances(scope=scope)],
                        [D('1121.21'), D('76.92')])

    @with_transaction()
    def test_company(self):
        "The rows are those of the companies of the user"
        company, other = get_company(), create_company("Other")
        with set_company(other):
            create_target(other, '12', '2024-01-01', '2024-12-31')
        with set_company(company):
            create_target(company, '24', '2024-01-01', '2024-12-31')
            self.assertEqual(
                {(m.company, m.target) for m in performances()},
                {(company, D(2)), (other, D(1))})
            with Transaction().set_user(1), Transaction().set_context(
                    _check_access=True, companies=[company.id]):
                self.assertEqual(
                    {m.company for m in performances()}, {company})

    @with_transaction()
    def test_statements(self):
        "The number of statements does not depend on the number of records"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Performance = pool.get('prm.performance')
        Plan = pool.get('prm.plan')
        Smoothing = pool.get('prm.smoothing')
        Target = pool.get('prm.target')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            seasonality = create_seasonality(company)
            counts = []

            def count(statements):
                # SQLite can only insert one by one
                return len([
                        s for s in statements if not s.startswith('INSERT')])

            for number in [2, 20]:
                start = date('2000-01-01')
                values = [{
                        'company': company.id,
                        'scope': 'employee',
                        'employee': employee.id,
                        'start_date': start + relativedelta(months=12 * i),
                        'end_date': start + relativedelta(
                            months=12 * i + 11, day=31),
                        'target': D(1000 + i),
                        'floor': D(10),
                        'seasonality': seasonality.id,
                        } for i in range(number)]
                with count_statements() as create:
                    targets = Target.create(values)
                with count_statements() as spread:
                    Target.spread(targets)
                with count_statements() as search:
                    records = Performance.search([])
                with count_statements() as read:
                    Performance.read(
                        [r.id for r in records],
                        list(Performance._fields))
                plans = Plan.create([{
                            'company': company.id,
                            'name': f"Plan {i}",
                            'start_date': date('2024-01-01'),
                            'end_date': date('2024-12-31'),
                            } for i in range(number)])
                with count_statements() as action:
                    actions = Action.create([{
                                'plan': plan.id,
                                'name': "Action",
                                'employee': employee.id,
                                'budget': D(10),
                                'cost': D(10),
                                'expected_revenue': D(10),
                                'why': "Too late",
                                'fills': ['2'],
                                } for plan in plans for _ in range(2)])
                with count_statements() as plan:
                    Plan.read([p.id for p in plans], list(Plan._fields))
                with count_statements() as read_action:
                    Action.read([a.id for a in actions], list(Action._fields))
                with count_statements() as smoothing:
                    Smoothing.read(
                        [s.id for s in Smoothing.search([])],
                        list(Smoothing._fields))
                buttons = []
                for button in [
                        'run', 'do', 'run', 'shelve', 'restart', 'abandon']:
                    with count_statements() as statements:
                        getattr(Action, button)(actions)
                    buttons.append(count(statements))
                for button in [
                        'approve', 'draft', 'approve', 'run', 'meet', 'close']:
                    with count_statements() as statements:
                        getattr(Plan, button)(plans)
                    buttons.append(count(statements))
                counts.append([
                        *map(count, [
                                create, spread, search, read, action, plan,
                                read_action, smoothing]), *buttons])
                Plan.run(plans)
                Action.restart(actions)
                Action.delete(actions)
                Plan.write(plans, {'state': 'draft'})
                Plan.delete(plans)
                Target.delete(targets)
            for few, many in zip(*counts):
                self.assertLessEqual(many, few)
                self.assertLessEqual(many, 30)

    @unittest.skipIf(
        backend.name != 'postgresql', "The plan is the one of PostgreSQL")
    @with_transaction()
    def test_plan_of_query(self):
        "The indexes find the invoices of the companies and the periods"
        pool = Pool()
        Performance = pool.get('prm.performance')
        User = pool.get('res.user')
        company = get_company()
        cursor = Transaction().connection.cursor()
        cursor.execute('SET LOCAL enable_seqscan TO off')
        cursor.execute(
            "SELECT indexname, indexdef LIKE '%INCLUDE (product, %' "
            "FROM pg_indexes WHERE tablename = 'account_invoice_line' "
            "AND indexdef LIKE '%(invoice)%' ORDER BY 2")
        (other, _), (index, covering) = cursor
        self.assertTrue(covering)
        # Without invoices it costs the same
        cursor.execute(f'DROP INDEX "{other}"')
        with set_company(company):
            User.write([User(1)], {
                    'companies': [('add', [company.id])],
                    'company': company.id,
                    })
            for scope, measure in [
                    ('company', 'revenue'), ('employee', 'revenue'),
                    ('category', 'revenue'), ('company', 'quantity'),
                    ('company', 'margin')]:
                with Transaction().set_user(1), check_access(), \
                        Transaction().set_context(
                            scope=scope, measure=measure,
                            start_date=date('2024-07-10'),
                            end_date=date('2024-09-20')):
                    query = Performance.table_query()
                cursor.execute('EXPLAIN ' + str(query), query.params)
                plan = '\n'.join(line for line, in cursor)
                for table in [
                        'account_invoice', 'account_invoice_line',
                        'account_move_line']:
                    self.assertNotIn(f'Seq Scan on {table} ', plan)
                if measure != 'revenue':
                    self.assertIn(index, plan)
                if (scope, measure) not in {
                        ('company', 'revenue'), ('employee', 'revenue')}:
                    # The two periods are read at once
                    continue
                for first, last in [
                        ('2024-07-01', '2024-09-30'),
                        ('2023-07-01', '2023-09-30')]:
                    self.assertRegex(
                        plan,
                        r"Scan using idx_\w+ on account_invoice .*\n"
                        r" +Index Cond: .*company = .*"
                        fr"invoice_date >= '{first}'::date.*"
                        fr"invoice_date <= '{last}'::date")

    @with_transaction()
    def test_target_change(self):
        "A change of the target spreads it again"
        company = get_company()
        with set_company(company):
            seasonality = create_seasonality(company)
            target = create_target(
                company, '100', '2024-01-01', '2024-03-31',
                floor=D('80'), stretch=D('120.01'))
            self.assertEqual(
                [(l.floor, l.amount, l.stretch) for l in target.lines], [
                    (D('26.67'), D('33.33'), D('40.00')),
                    (D('26.67'), D('33.33'), D('40.00')),
                    (D('26.66'), D('33.34'), D('40.01')),
                    ])
            target.seasonality = seasonality
            target.floor = None
            target.save()
            self.assertEqual(
                [(l.floor, l.amount) for l in target.lines], [
                    (None, D('33.33')),
                    (None, D('29.63')),
                    (None, D('37.04')),
                    ])
            target.end_date = date('2024-01-31')
            target.save()
            self.assertEqual([l.amount for l in target.lines], [D(100)])
            lines = target.lines
            target.plan = None
            target.save()
            self.assertEqual(target.lines, lines)

    @with_transaction()
    def test_target_intervals(self):
        "A target is also followed by week and by fiscal period"
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            party, = create_parties()
            create_invoices(
                company, (party, '2024-02-26', '20'),
                (party, '2024-03-03', '3'), (party, '2024-03-04', '4'))
            target = create_target(
                company, '60', '2024-02-28', '2024-03-31', interval='week',
                seasonality=create_seasonality(
                    company, '0 0.29 0.31' + ' 0' * 8 + ' 0.4'))
            # 0.01 a day in both months: 33 days for 60
            self.assertEqual(
                [(s.start_date, s.amount) for s in target.slices], [
                    (date('2024-02-28'), D('9.09')),
                    (date('2024-03-04'), D('12.73')),
                    (date('2024-03-11'), D('12.73')),
                    (date('2024-03-18'), D('12.73')),
                    (date('2024-03-25'), D('12.72'))])
            self.assertEqual(
                [(s.actual, s.gap) for s in target.slices[:2]], [
                    (D(3), D('-6.09')), (D(4), D('-8.73'))])
            target.interval = 'period'
            target.save()
            self.assertEqual(
                [(s.start_date, s.end_date, s.amount)
                    for s in target.slices], [
                    (date('2024-02-28'), date('2024-02-29'), D('3.64')),
                    (date('2024-03-01'), date('2024-03-31'), D('56.36'))])
            target.interval = 'month'
            target.save()
            self.assertEqual(target.slices, ())
            with self.assertRaisesRegex(
                    TargetValidationError, 'there is none on 01/01/2025'):
                create_target(
                    company, '60', '2024-12-01', '2025-01-31',
                    interval='period')

    @with_transaction()
    def test_target_children(self):
        "The roll-up of the children is shown and not forced"
        pool = Pool()
        Target = pool.get('prm.target')
        company = get_company()
        with set_company(company):
            employees = [create_employee(company, n) for n in ["A", "B"]]
            parent = create_target(
                company, '100', '2024-01-01', '2024-12-31')
            self.assertIsNone(parent.children_target)
            self.assertIsNone(parent.children_gap)
            children = [
                create_target(
                    company, amount, '2024-01-01', '2024-12-31',
                    scope='employee', employee=employee, parent=parent)
                for employee, amount in zip(employees, ['40.01', '50'])]
            parent = Target(parent.id)
            self.assertEqual(parent.children_target, D('90.01'))
            self.assertEqual(parent.children_gap, D('-9.99'))
            self.assertEqual(parent.children_outside, 0)
            # 8.33 less 3.33 + 4.17 in January
            january = parent.lines[0]
            self.assertEqual(january.children_amount, D('7.50'))
            self.assertEqual(january.children_gap, D('-0.83'))
            later = create_target(
                company, '30', '2024-11-01', '2025-01-31',
                scope='employee', employee=employees[0], parent=parent)
            parent = Target(parent.id)
            self.assertEqual(parent.children_target, D('120.01'))
            self.assertEqual(parent.children_outside, D('10.00'))
            Target.delete([later])
            parent = Target(parent.id)

            renewed = Target.renew([parent, *children], D('0.1'))
            self.assertEqual(
                [t.parent for t in renewed], [None, renewed[0], renewed[0]])
            # 44.01 (44.011) + 55
            self.assertEqual(renewed[0].children_target, D('99.01'))
            # 104.99 is 3 × 35.00 (34.9965) less 0.01
            total = create_target(
                company, '99.99', '2024-01-01', '2024-12-31')
            third = [
                create_target(
                    company, '33.33', '2024-01-01', '2024-12-31',
                    scope='employee', employee=employee, parent=total,
                    floor=D('33.33'), stretch=D('33.33'))
                for employee in [*employees, employees[0]]]
            renewed = Target.renew([total, *third], D('0.05'))
            self.assertEqual(renewed[0].children_gap, 0)
            self.assertEqual(
                [(t.floor, t.target, t.stretch) for t in renewed], [
                    (None, D('104.99'), None),
                    (D('35.00'), D('35.00'), D('35.00')),
                    (D('35.00'), D('35.00'), D('35.00')),
                    (D('34.99'), D('34.99'), D('35.00'))])
            with Transaction().set_context(_skip_warnings=True):
                copy, = Target.copy([parent])
            self.assertEqual(copy.children, ())

            seasonality = create_seasonality(company)

            @settings(max_examples=5, deadline=None)
            @given(st.lists(
                    st.decimals(min_value=0, max_value=10 ** 6, places=2),
                    min_size=1, max_size=4))
            def check(amounts):
                "The months of the children keep every cent of the parent"
                parent = create_target(
                    company, sum(amounts), '2024-01-01', '2024-12-31',
                    seasonality=seasonality)
                children = Target.create([{
                            'company': company.id,
                            'scope': 'employee',
                            'employee': employees[0].id,
                            'start_date': date('2024-01-01'),
                            'end_date': date('2024-12-31'),
                            'target': amount,
                            'seasonality': seasonality.id,
                            'parent': parent.id,
                            } for amount in amounts])
                parent = Target(parent.id)
                self.assertEqual(parent.children_target, sum(amounts))
                self.assertEqual(parent.children_gap, 0)
                self.assertEqual(
                    sum(l.amount for c in children for l in c.lines),
                    sum(l.amount for l in parent.lines))
                renewed = Target.renew([parent, *children], D('0.0333'))
                self.assertEqual(renewed[0].children_gap, 0)

            check()

            counts = []
            for number in [1, 8]:
                parent = create_target(
                    company, number, '2024-01-01', '2024-12-31')
                children = Target.copy([parent] * number, default={
                        'target': D(1), 'parent': parent.id})
                with count_statements() as statements:
                    Target.renew([parent, *children], D('0.0333'))
                counts.append(len([
                            s for s in statements
                            if not s.startswith('INSERT')]))
            self.assertLessEqual(counts[1], counts[0])

    @with_transaction()
    def test_target_revision(self):
        "A target keeps what it was before each change"
        pool = Pool()
        Target = pool.get('prm.target')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            target = create_target(
                company, '100', '2024-01-01', '2024-12-31', floor=D(80))
            self.assertEqual(target.revisions, ())
            with Transaction().set_context(employee=employee.id):
                Target.write([target], {'target': D(90)})
                Target.write([target], {'target': D(90), 'plan': None})
                Target.write([target], {
                        'floor': None, 'end_date': date('2024-06-30')})
            target = Target(target.id)
            last, first = target.revisions
            self.assertEqual(
                [(r.amount, r.floor, r.end_date, r.date, r.employee)
                    for r in [first, last]], [
                    (D(100), D(80), date('2024-12-31'), dt.date.today(),
                        employee),
                    (D(90), D(80), date('2024-12-31'), dt.date.today(),
                        employee)])
            with Transaction().set_context(_skip_warnings=True):
                copy, = Target.copy([target])
            self.assertEqual(copy.revisions, ())
            lines = target.lines
            Target.write([target], {
                    'scope': 'employee', 'employee': employee.id})
            target = Target(target.id)
            self.assertEqual(target.lines, lines)
            self.assertEqual(
                [(r.subject, r.measure) for r in target.revisions],
                [(company, 'revenue')] * 3)
            # Nobody types the months nor what the target was
            line, revision = target.lines[0], target.revisions[0]
            with check_access():
                for record, name in [(line, 'amount'), (revision, 'amount')]:
                    with self.assertRaises(WorkflowAccessError):
                        record.__class__.write([record], {name: D(7)})
                revision.__class__.write([revision], {'why': "Late"})
                Target.write([target], {'target': D(91)})
                Target.spread([target])
            self.assertEqual(
                sum(l.amount for l in Target(target.id).lines), D(91))

    @with_transaction()
    def test_territory(self):
        "A territory counts its partners and those of its children"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Performance = pool.get('prm.performance')
        Territory = pool.get('prm.territory')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            employee = create_employee(company)
            parties = create_parties(3)
            north, = Territory.create([
                    {'name': "North", 'company': company.id}])
            lille, = Territory.create([{
                        'name': "Lille", 'company': company.id,
                        'parent': north.id}])
            partners = create_partners(company, parties, *[employee] * 3)
            for partner, territory in zip(partners, [north, lille]):
                partner.territory = territory
            Partner.save(partners)
            invoices = create_invoices(
                company, *((party, '2024-01-15', amount)
                    for party, amount in zip(parties, ['1', '10', '100'])))

            def figures(measure):
                return {
                    m.territory: m.actual for m in performances(
                        scope='territory', measure=measure)}

            self.assertEqual(
                figures('revenue'), {north: D(11), lille: D(10)})
            for territory in [north, lille]:
                create_target(
                    company, '12', '2006-01-01', '2006-12-31',
                    scope='territory', territory=territory,
                    measure='new_partners')
            Partner.onboard(partners)
            self.assertEqual([
                    (m.territory, m.actual)
                    for m in performances([
                            ('date', '=', date('2006-01-01')),
                            ('scope', '=', 'territory')])],
                [(north, D(2)), (lille, D(1))])
            row, = performances(
                scope='territory', territory=north.id, measure='revenue')
            self.assertEqual(
                set(Performance.get_invoices([row])),
                {i.id for i in invoices[:2]})

    @with_transaction()
    def test_target_scope(self):
        "A target keeps only the record of its scope"
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            target = create_target(
                company, '100', '2024-01-01', '2024-03-31',
                employee=employee)
            self.assertEqual(target.scope, 'company')
            self.assertIsNone(target.employee)

    @with_transaction()
    def test_target_levels(self):
        "The floor, the target and the stretch must grow"
        company = get_company()
        with set_company(company):
            for levels in [
                    {'floor': D(101)}, {'stretch': D(99)}, {'floor': D(-1)}]:
                with self.assertRaisesRegex(
                        TargetValidationError, "in growing order"):
                    create_target(
                        company, '100', '2024-01-01', '2024-03-31', **levels)

    @with_transaction()
    def test_target_no_share(self):
        "A target over months without share is refused"
        company = get_company()
        with set_company(company):
            seasonality = create_seasonality(company, '0 1' + ' 0' * 10)
            with self.assertRaisesRegex(
                    TargetValidationError,
                    '"Services" has no share in any of its months'):
                create_target(
                    company, '100', '2024-03-01', '2025-01-31',
                    seasonality=seasonality)

    @with_transaction()
    def test_own_actions(self):
        "The sales staff notes the hours and the cost of its own actions"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        ModelData = pool.get('ir.model.data')
        Plan = pool.get('prm.plan')
        User = pool.get('res.user')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            user, = User.create([{
                        'name': "Sales",
                        'login': 'sales',
                        'companies': [('add', [company.id])],
                        'company': company.id,
                        'employees': [('add', [employee.id])],
                        'employee': employee.id,
                        'groups': [
                            ('add', [ModelData.get_id('prm.group_prm')])],
                        }])
            plan, = Plan.create([{
                        'name': "2024",
                        'start_date': dt.date(2024, 1, 1),
                        'end_date': dt.date(2024, 12, 31),
                        'actions': [('create', [{
                                        'name': "Own",
                                        'kind': 'event',
                                        'employee': employee.id,
                                        }, {
                                        'name': "Other",
                                        'kind': 'event',
                                        }])],
                        }])
            own, other = [
                next(a.id for a in plan.actions if a.name == name)
                for name in ['Own', 'Other']]
            with Transaction().set_user(user.id), \
                    Transaction().set_context(
                        User.get_preferences(context_only=True)), \
                    check_access():
                self.assertEqual(len(Action.search([])), 2)
                Action.write([Action(own)], {'cost': D('10')})
                with self.assertRaises(AccessError):
                    Action.write([Action(other)], {'cost': D('10')})
                with self.assertRaises(AccessError):
                    Action.delete([Action(own)])

    @with_transaction()
    def test_target_overlap(self):
        "The form of a target tells that common months add up"
        pool = Pool()
        Target = pool.get('prm.target')
        company = get_company()
        with set_company(company):
            create_target(company, '120', '2024-01-01', '2024-12-31')
            create_target(company, '120', '2025-01-01', '2025-12-31')
            target = Target(
                company=company, scope='company', measure='revenue',
                start_date=dt.date(2026, 1, 1), end_date=dt.date(2026, 1, 31))
            self.assertEqual(target.on_change_notify(), [])
            target.start_date = dt.date(2025, 12, 1)
            (kind, message), = target.on_change_notify()
            self.assertEqual(kind, 'warning')
            self.assertRegex(message, "Their amounts add up")
            target = create_target(company, '1', '2024-12-01', '2024-12-31')
            self.assertEqual(len(target.on_change_notify()), 1)

    @with_transaction()
    def test_seasonality(self):
        "The shares of a seasonality total 1"
        pool = Pool()
        Seasonality = pool.get('prm.seasonality')
        company = get_company()
        with set_company(company):
            with self.assertRaisesRegex(
                    SeasonalityError,
                    '"Services" total 0.9 instead of 1. '
                    'Change some months by 0.1 in all'):
                create_seasonality(company, '0.4 0.5')
            seasonality = create_seasonality(company)
            self.assertEqual(seasonality.total, 1)
            empty = Seasonality(name="Empty")
            empty.save()
            with self.assertRaisesRegex(
                    TargetValidationError, '"Empty" has no share'):
                create_target(
                    company, '100', '2024-01-01', '2024-12-31',
                    seasonality=empty)
            self.assertEqual(seasonality.lines[7].month, 8)
            self.assertEqual(seasonality.lines[7].month_name, "August")
            first, second = seasonality.lines[:2]
            with self.assertRaisesRegex(SeasonalityError, "total 1.01 "):
                first.share = D('0.10')
                first.save()
            first.share = D('0.09')
            first.save()
            seasonality.write([seasonality], {
                    'lines': [
                        ('write', [first.id], {'share': D('0.10')},
                            [second.id], {'share': D('0.07')}),
                        ]})
            with self.assertRaisesRegex(SeasonalityError, "total 0.90 "):
                seasonality.lines[0].delete([seasonality.lines[0]])

    @with_transaction()
    def test_team_overlap(self):
        "An employee is in one team at a time"
        pool = Pool()
        Member = pool.get('prm.team.member')
        Team = pool.get('prm.team')
        company = get_company()
        with set_company(company):
            employee = create_employee(company, "Jane")
            direct, indirect = Team.create([
                    {'name': n, 'company': company.id}
                    for n in ["Direct", "Indirect"]])
            Member.create([{
                        'team': direct.id,
                        'employee': employee.id,
                        'end_date': date('2024-05-31')}])
            copy, = Team.copy([direct])
            self.assertEqual(copy.name, "Direct (copy)")
            self.assertEqual(copy.members, ())
            Member.create([{
                        'team': indirect.id,
                        'employee': employee.id,
                        'start_date': date('2024-06-01')}])
            with patch.object(
                    pool.get('company.employee'), 'lock') as lock, \
                    self.assertRaisesRegex(
                        TeamMemberOverlapError,
                        '"Jane" cannot be in the team "Indirect" because '
                        'they are still in the team "Direct"'):
                Member.create([{
                            'team': indirect.id,
                            'employee': employee.id,
                            'start_date': date('2024-05-31'),
                            'end_date': date('2024-05-31')}])
            lock.assert_called_with({employee})

    @with_transaction()
    def test_plan(self):
        "An approved plan is frozen, its actions live"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Plan = pool.get('prm.plan')
        Target = pool.get('prm.target')
        company = get_company()
        with set_company(company):
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': date('2024-01-01'),
                        'end_date': date('2024-12-31'),
                        }])
            fair, extranet, guide = Action.create([
                    {'plan': plan.id, 'name': name, 'kind': 'event',
                        'budget': D(100), 'expected_revenue': D(1000)}
                    for name in ["Fair", "Extranet", "Guide"]])
            Plan.approve([plan])
            with self.assertRaisesRegex(
                    PlanAccessError, '"PAC" is approved'):
                Plan.write([plan], {'name': "Other"})
            with self.assertRaisesRegex(
                    PlanAccessError, 'To delete the plan "PAC"'):
                Plan.delete([plan])
            Plan.run([plan])

            Action.run([fair])
            Action.do([fair])
            self.assertEqual(fair.state, 'done')
            self.assertEqual(fair.done_date, dt.date.today())
            with self.assertRaisesRegex(
                    ActionStopError, 'To stop the action "Extranet"'):
                Action.shelve([extranet])
            for action in [extranet, guide]:
                action.why = "No time"
            guide.stopped_date = date('2024-06-30')
            Action.save([extranet, guide])
            Action.shelve([extranet])
            Action.abandon([guide])
            self.assertEqual(extranet.stopped_date, dt.date.today())
            self.assertEqual(guide.stopped_date, date('2024-06-30'))
            self.assertEqual(plan.budget, D(300))
            self.assertEqual(plan.expected_revenue, D(1000))
            with self.assertRaisesRegex(
                    PlanAccessError, 'To delete the action "Guide"'):
                Action.delete([guide])
            self.assertIsNone(extranet.decision)
            self.assertEqual(guide.decision, 'drop')
            Action.restart([extranet])
            self.assertEqual(extranet.state, 'planned')
            self.assertEqual(extranet.decision, 'restart')
            self.assertEqual(extranet.decision_date, dt.date.today())
            self.assertEqual(extranet.stopped_date, dt.date.today())
            # The date of the time before is not the one of this time
            Action.write([extranet], {
                    'stopped_date': date('2024-03-31'),
                    'due_date': date('2024-12-31'),
                    })
            Action.shelve([extranet])
            self.assertEqual(extranet.stopped_date, dt.date.today())
            self.assertIsNone(extranet.decision)
            with check_access(), self.assertRaisesRegex(
                    WorkflowAccessError, '"Decision"'):
                Action.write([extranet], {'decision': 'drop'})
            late, = Action.create([{
                        'plan': plan.id,
                        'name': "Late",
                        'due_date': date('2024-12-31'),
                        }])
            self.assertTrue(late.late)

            target = create_target(
                company, '12', '2024-01-01', '2024-12-31', plan=plan)
            Plan.close([plan])
            for change in [
                    lambda: Target.write([target], {'target': D(24)}),
                    lambda: Target.write([target], {'plan': None}),
                    lambda: Target.spread([target]),
                    lambda: Target.delete([target]),
                    lambda: create_target(
                        company, '1', '2024-01-01', '2024-12-31', plan=plan)]:
                with self.assertRaisesRegex(
                        PlanAccessError, 'To change its targets, run it'):
                    change()
            late = Action(late.id)
            self.assertFalse(late.late)
            self.assertIsNone(late.agenda)
            self.assertEqual(Action.search([('late', '=', True)]), [])
            closed = 'The plan "PAC" is closed.'
            for change in [
                    lambda: Action.write([fair], {'cost': D(1)}),
                    lambda: Action.create([{
                                'plan': plan.id, 'name': "New"}]),
                    lambda: Action.delete([late]),
                    lambda: Action.do([late]),
                    lambda: Action.abandon([late]),
                    lambda: Action.restart([extranet])]:
                with self.assertRaisesRegex(PlanAccessError, closed):
                    change()
            Action.abandon([extranet])
            self.assertEqual(extranet.state, 'abandoned')
            self.assertEqual(extranet.decision, 'drop')
            copy, = Plan.copy([plan])
            self.assertEqual(copy.state, 'draft')
            self.assertEqual({a.state for a in copy.actions}, {'planned'})
            self.assertEqual({a.decision for a in copy.actions}, {None})
            with self.assertRaisesRegex(PlanAccessError, closed):
                Action.write(copy.actions[:1], {'plan': plan.id})

    @with_transaction()
    def test_agenda(self):
        "The agenda has what is late, due and done since the last meeting"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Plan = pool.get('prm.plan')
        PlanMeet = pool.get('prm.plan.meet', type='wizard')
        company = get_company()
        today = dt.date.today()

        def day(days):
            return today + dt.timedelta(days=days)

        with set_company(company):
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': today,
                        'end_date': today,
                        }])
            actions = Action.create([
                    {'plan': plan.id, 'name': str(i), 'due_date': due}
                    for i, due in enumerate([
                            day(-1), day(0), day(7), day(8), None,
                            day(0), day(0)])])
            *_, week, older = actions
            Action.do([week, older])
            week.done_date, older.done_date = day(-7), day(-8)
            Action.save([week, older])
            agenda = ['late', 'due', 'due', None, None, 'done', None]
            self.assertEqual([a.agenda for a in actions], agenda)
            for clause, values in [
                    (('=', 'due'), ['due']), (('=', None), [None]),
                    (('in', ['late', 'done']), ['late', 'done'])]:
                self.assertEqual(
                    set(Action.search([('agenda', *clause)])),
                    {a for a, v in zip(actions, agenda) if v in values})
            self.assertIsNone(Action.default_plan())
            Plan.approve([plan])
            self.assertEqual(Action.default_plan(), plan.id)
            session_id, _, _ = PlanMeet.create()
            with Transaction().set_context(
                    active_model='prm.plan.action',
                    active_ids=[a.id for a in actions],
                    active_id=actions[0].id):
                PlanMeet(session_id).transition_meet()
            self.assertEqual(plan.last_meeting, today)
            self.assertEqual(
                Action.search([('agenda', '=', 'done')]), [])
            copy, = Plan.copy([plan])
            self.assertIsNone(copy.last_meeting)

    @with_transaction()
    def test_action_revenue(self):
        "The invoices of an action make what it has obtained"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Invoice = pool.get('account.invoice')
        Plan = pool.get('prm.plan')
        company = get_company()
        with set_company(company):
            setup_accounting(company, 2024)
            create_target(company, '300', '2024-01-01', '2024-03-31')
            party, = create_parties()
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': date('2024-01-01'),
                        'end_date': date('2024-03-31'),
                        }])
            fair, offer, none = Action.create([{
                        'plan': plan.id, 'name': name,
                        'expected_revenue': D(90), 'fills': fills,
                        'actual_revenue': D(5), 'hours_spent': D('1.5')}
                    for name, fills in [
                        ("Fair", ['1', '2', '3']), ("Offer", ['3']),
                        ("None", [])]])
            invoices = create_invoices(
                company, (party, '2024-01-15', '100'),
                (party, '2024-02-15', '60'), (party, '2024-02-16', '-11'))
            Invoice.write(invoices, {'plan_action': fair.id})
            fair, offer, none = actions = Action.browse([fair, offer, none])
            self.assertEqual(
                [a.invoiced_revenue for a in actions], [D(149), None, None])
            self.assertEqual(
                [a.obtained_revenue for a in actions], [D(149), D(5), D(5)])
            self.assertEqual(plan.actual_revenue, D(159))
            self.assertEqual(fair.hours, D('1.5'))
            # January reaches the level: February and March are the troughs
            self.assertEqual(
                [a.troughs for a in actions], [2, 1, 0])
            self.assertEqual(
                [(a.trough_expected, a.trough_obtained) for a in actions],
                [(D(45), D('74.50')), (D(90), D(5)), (None, None)])
            march = pool.get('prm.smoothing').search([
                    ('date', '=', date('2024-03-01'))])[0]
            self.assertEqual(list(march.actions), [offer, fair])
            credit, = Invoice.credit(invoices[:1])
            self.assertEqual(credit.plan_action, fair)
            fair.why = "No time"
            fair.expected_revenue = D(200)
            fair.save()
            Action.abandon([fair])
            self.assertEqual(fair.deferred_revenue, D(51))

    @with_transaction()
    def test_action_late(self):
        "An action is late when its due date is over and it is not"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Plan = pool.get('prm.plan')
        company = get_company()
        today = dt.date.today()
        with set_company(company):
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': today,
                        'end_date': today,
                        }])
            late, on_time, done, undated = actions = Action.create([
                    {'plan': plan.id, 'name': "Action", 'due_date': due}
                    for due in [
                        today - dt.timedelta(days=1), today,
                        today - dt.timedelta(days=1), None]])
            Action.do([done])
            self.assertEqual(
                [a.late for a in actions], [True, False, False, False])
            for domain, result in [
                    ([('late', '=', True)], {late}),
                    ([('late', '!=', True)], {on_time, done, undated}),
                    ([('late', '=', False)], {on_time, done, undated}),
                    ([('late', 'in', [True, False])], set(actions)),
                    ([('late', 'in', [])], set()),
                    ]:
                self.assertEqual(set(Action.search(domain)), result, domain)
