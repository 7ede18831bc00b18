# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

import hypothesis
from hypothesis import settings
from hypothesis import strategies as st

from trytond.modules.company.tests import create_employee
from trytond.modules.prm.trytond_prm.concession.exceptions import (
    ConcessionBudgetError)
from trytond.modules.prm.trytond_prm.performance.retention import (
    Customer, compare, similarity)
from trytond.pool import Pool
from trytond.transaction import Transaction

from .concession_tools import SetupMixin, with_setup
from .tools import count_statements

D = Decimal

samples = st.lists(st.builds(
        Customer, st.just(1), st.integers(1, 99),
        st.sampled_from(['interaction', 'rejected']),
        st.decimals(0, 10000, places=2), st.decimals(0, 10000, places=2),
        st.just(1), st.decimals(0, 100, places=2)), max_size=12)


class CompareTestCase(unittest.TestCase):
    "Test the comparison of the customers with and without gesture"

    def customers(self, text):
        "Return customers from lines of: count trouble before after cost"
        result = []
        for line in text.strip().splitlines():
            count, trouble, *amounts = line.split()
            result.extend([Customer(
                        1, 1, trouble, *map(D, amounts[:2]), 1,
                        D(amounts[2]))] * int(count))
        return result

    def test_worked(self):
        "The others count as much as those they are similar to"
        given = self.customers("""
            2  interaction  500  400  10
            1  interaction   50   40  10
            1  rejected     500  400  10
            """)
        others = self.customers("""
            1  interaction  900  300   0
            3  interaction  500    0   0
            1  interaction   60   60   0
            9  interaction    0    0   0
            """)

        comparison = compare(given, others, 3)

        self.assertEqual(
            [comparison.given, comparison.others, comparison.unmatched],
            [3, 5, 1])
        # 2 × (900 + 3 × 500) / 4 + 60 for 3 customers
        self.assertEqual(comparison.others_before, D('420'))
        self.assertEqual(comparison.given_after, D('280'))
        # 2 × 300 / 4 + 60
        self.assertEqual(comparison.others_after, D('70'))
        self.assertEqual(comparison.given_retention, 1)
        self.assertEqual(comparison.others_retention, D('0.5'))
        self.assertEqual(comparison.cost, D('30'))
        self.assertEqual(comparison.kept, D('630'))
        # A quarter of 4 might be chance, of 40 it is not
        self.assertEqual(comparison.verdict, 'more')
        self.assertEqual(compare(given, others, 4).verdict, 'few')
        self.assertIsNone(compare(given, others, 4).kept)

    def test_verdict(self):
        "A difference that may be chance is no difference"
        given = self.customers("3 rejected 500 400 10\n1 rejected 500 0 10")
        others = self.customers("2 rejected 500 400 0\n2 rejected 500 0 0")

        self.assertEqual(compare(given, others, 1).verdict, 'unclear')
        self.assertEqual(
            compare(given * 20, others * 20, 1).verdict, 'more')
        self.assertEqual(
            compare(others * 20, given * 20, 1).verdict, 'less')

    @hypothesis.given(samples, samples, st.integers(1, 6))
    @settings(max_examples=50, deadline=None)
    def test_invariants(self, given, others, minimum):
        "Nobody is lost and too few customers give no verdict"
        comparison = compare(given, others, minimum)

        self.assertEqual(
            comparison.given + comparison.unmatched, len(given))
        alike = set(map(similarity, given))
        self.assertEqual(
            comparison.others,
            sum(similarity(c) in alike for c in others))
        few = min(comparison.given, comparison.others) < minimum
        self.assertEqual(comparison.verdict == 'few', few)
        self.assertEqual(comparison.kept is None, few)
        if comparison.given:
            self.assertLessEqual(comparison.others_retention, 1)
        # A side compared with itself keeps nothing
        same = compare(given, given, 1)
        if given:
            self.assertAlmostEqual(same.kept, 0)
            self.assertEqual(same.verdict, 'unclear')


class ConcessionReportingTestCase(SetupMixin, unittest.TestCase):
    "Test the analysis of commercial gestures"
    # The year after is over
    today = dt.date(dt.date.today().year - 2, 3, 1)

    @classmethod
    def set_up_data(cls, setup):
        pool = Pool()
        Party = pool.get('party.party')
        Team = pool.get('prm.team')
        User = pool.get('res.user')
        for name in ['sam', 'dan']:
            employee = create_employee(setup.company, name)
            user = User(
                name=name, login=name, companies=[setup.company],
                company=setup.company, employees=[employee],
                employee=employee)
            user.save()
            setattr(setup, name, user)
            setattr(setup, f'{name}_employee', employee)
        setup.team = Team(
            name="North", company=setup.company,
            members=[{'employee': setup.sam_employee}])
        setup.team.save()
        setup.other = Party(name="Other", addresses=[{}])
        setup.other.save()

    def ask(self, setup, user, amount, invoice=None, **values):
        with Transaction().set_user(user.id):
            return setup.concession(amount, invoice, **values)

    def give(self, setup, user, *args, **values):
        pool = Pool()
        Concession = pool.get('prm.concession')
        concession = self.ask(setup, user, *args, **values)
        with Transaction().set_user(user.id):
            Concession.submit(Concession.browse([concession.id]))
        Concession.approve(Concession.browse([concession.id]))
        Concession.grant(Concession.browse([concession.id]))

    @with_setup
    def test_budget(self, setup):
        "The budget of a team pays the gestures of its members"
        pool = Pool()
        Budget = pool.get('prm.concession.budget')
        Concession = pool.get('prm.concession')
        budget = Budget(
            company=setup.company, start_date=setup.today,
            end_date=setup.today, team=setup.team, amount=D('100'))
        budget.save()
        self.assertTrue(budget.rec_name.endswith(' (North)'))
        concessions = [
            self.ask(setup, user, amount, kind='free_service',
                cost=D(amount), date=setup.today)
            for user, amount in [
                (setup.dan, '500'), (setup.sam, '60'), (setup.sam, '50')]]
        for concession, user in zip(
                concessions, [setup.dan, setup.sam, setup.sam]):
            with Transaction().set_user(user.id):
                Concession.submit(Concession.browse([concession.id]))
        self.assertEqual(
            [Concession(c.id).team for c in concessions],
            [None, setup.team, setup.team])
        self.assertEqual(
            Concession.search([('team', '=', setup.team.id)], order=[
                    ('id', 'ASC')]), concessions[1:])
        self.assertEqual(
            Concession.search([('team', '=', None)]), concessions[:1])

        Concession.approve(Concession.browse(
                [c.id for c in concessions[:2]]))
        with self.assertRaisesRegex(ConcessionBudgetError, "usd40.00 remain"):
            Concession.approve(Concession.browse([concessions[2].id]))
        Concession.grant(Concession.browse([c.id for c in concessions[:2]]))

        budget = Budget(budget.id)
        self.assertEqual(
            [budget.committed, budget.consumed, budget.remaining],
            [D(0), D('60'), D('40')])

    @with_setup
    def test_reporting(self, setup):
        "The gestures are compared with the revenue before them"
        pool = Pool()
        Reason = pool.get('prm.concession.reason')
        late = Reason(name="Late")
        late.save()
        april = setup.today.replace(month=4)
        invoice = setup.invoice((1, '1000', [setup.tax]), date=setup.today)
        self.give(setup, setup.sam, '100', invoice, date=setup.today)
        other = setup.invoice(
            (1, '500', [setup.tax]), date=april, party=setup.other)
        values = {'date': april, 'reason': late, 'party': setup.other}
        self.give(setup, setup.dan, '50', other, cost=D('20'), **values)
        self.give(
            setup, setup.dan, '80', kind='free_service', cost=D('30'),
            **values)

        def rows(name, key, **context):
            Model = pool.get(f'prm.concession.reporting.{name}')
            with Transaction().set_context(
                    company=setup.company.id, **context):
                return [
                    (getattr(r, key), r.number, r.amount, r.cost, r.imputed,
                        r.revenue, r.rate)
                    for r in Model.search([], order=[(key, 'ASC')])]

        march = (setup.today, 1, D('100.00'), D('100.00'), D('100.00'),
            D('1000.00'), D('0.1'))
        self.assertEqual(rows('month', 'date'), [
                march,
                (april, 2, D('130.00'), D('50.00'), D('80.00'),
                    D('500.00'), D('0.16'))])
        self.assertEqual(rows('month', 'date', team=setup.team.id), [
                march[:5] + (D('0.00'), None)])
        self.assertEqual(
            rows('reason', 'reason', kind='free_service'), [
                (late, 1, D('80.00'), D('30.00'), D('30.00'),
                    D('1500.00'), D('0.02'))])
        self.assertEqual([
                (r[0], *r[4:]) for r in rows('reason', 'reason')], [
                (late, D('80.00'), D('1500.00'), D('0.0533')),
                (setup.reason, D('100.00'), D('1500.00'), D('0.0667'))])
        self.assertEqual([
                (r[0], *r[4:]) for r in rows(
                    'party', 'party', start_date=april)], [
                (setup.other, D('80.00'), D('500.00'), D('0.16'))])
        self.assertEqual([
                (r[0], *r[1:3]) for r in rows('employee', 'employee')], [
                (setup.sam_employee, 1, D('100.00')),
                (setup.dan_employee, 2, D('130.00'))])
        self.assertEqual(
            rows('party', 'party', partner=99, reason=late.id), [])
        with count_statements() as statements:
            rows('employee', 'employee')
        self.assertLess(len(statements), 10)

    @with_setup
    def test_retention(self, setup):
        "Similar customers with and without gesture are compared"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        Party = pool.get('party.party')
        Retention = pool.get('prm.concession.retention')
        channel, = Channel.search([('kind', '=', 'phone')])
        parties = [
            Party(name=f"Customer {i}", addresses=[{}]) for i in range(5)]
        Party.save(parties)
        month = dt.timedelta(days=31)
        for i, party in enumerate(parties):
            setup.invoice(
                (1, '500', []), party=party, date=setup.today - month)
        Interaction.save([Interaction(
                    company=setup.company, party=party, channel=channel,
                    date=dt.datetime.combine(setup.today, dt.time(12)),
                    sentiment=-2)
                for party in parties])
        Interaction.do(Interaction.search([]))
        gestures = [
            setup.concession(
                '10', kind='free_service', cost=D('5'), party=party,
                date=setup.today + days)
            for party, days in [
                (parties[0], 0 * month), (parties[1], month),
                (parties[4], 6 * month)]]  # the last one too late
        setup.grant(*gestures)
        for party, amount in [
                (parties[0], '400'), (parties[1], '200'),
                (parties[2], '100')]:
            setup.invoice(
                (1, amount, []), party=party, date=setup.today + 2 * month)

        context = {
            'company': setup.company.id,
            'start_date': setup.today,
            'end_date': setup.today,
            }
        configuration = pool.get('prm.configuration')(1)
        configuration.concession_minimum = 2
        configuration.save()
        with Transaction().set_context(context):
            total, reason = Retention.search([])
        self.assertIsNone(total.reason)
        self.assertEqual(reason.reason, setup.reason)
        for row in [total, reason]:
            self.assertEqual([row.given, row.others, row.unmatched], [2, 2, 0])
            self.assertEqual(
                [row.given_before, row.given_after, row.others_after],
                [D('500.00'), D('300.00'), D('50.00')])
            self.assertEqual(
                [row.given_retention, row.others_retention],
                [D('1'), D('0.5')])
            self.assertEqual(
                [row.cost, row.kept, row.cost_rate],
                [D('10.00'), D('500.00'), D('0.02')])
        configuration.concession_minimum = 3
        configuration.save()
        with Transaction().set_context(context):
            row = Retention(total.id)
            self.assertEqual(
                [row.verdict, row.given, row.kept, row.cost_rate],
                ['few', 2, None, None])
