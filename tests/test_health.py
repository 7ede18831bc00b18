# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal
from unittest.mock import patch

from dateutil.relativedelta import relativedelta
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trytond.modules.company.tests import create_employee
from trytond.modules.prm.trytond_prm.health.exceptions import (
    HealthAccessError, HealthMetricError, HealthWeightError)
from trytond.pool import Pool
from trytond.transaction import check_access

from .concession_tools import SetupMixin, with_setup
from .test_partner import activate
from .tools import ALL_MODULES, count_statements

D = Decimal
DAY = dt.timedelta(days=1)
NUMBERS = st.decimals(
    min_value=-10 ** 6, max_value=10 ** 6, places=2)


def create_metrics(company, **weights):
    Metric = Pool().get('prm.health.metric')
    scales = Metric._scales()
    return Metric.create([{
                'company': company.id,
                'kind': kind,
                'weight': D(weight),
                'worst': scales[kind][0],
                'best': scales[kind][1],
                } for kind, weight in weights.items()])


class HealthTestCase(SetupMixin, unittest.TestCase):
    "Test the health of partners"
    modules = ALL_MODULES

    @classmethod
    def set_up_data(cls, setup):
        Channel = Pool().get('prm.channel')
        setup.employee = create_employee(setup.company)
        setup.channel, = Channel.create([{'name': "Phone", 'kind': 'phone'}])

    def partners(self, setup, count=1):
        pool = Pool()
        Partner = pool.get('prm.partner')
        Party = pool.get('party.party')
        parties = Party.create([
                {'name': f"Partner {i}", 'addresses': [('create', [{}])]}
                for i in range(count)])
        partners = Partner.create([{
                    'company': setup.company.id,
                    'party': p.id,
                    'manager': setup.employee.id,
                    'start_date': dt.date(2020, 1, 1),
                    } for p in parties])
        activate(partners)
        return partners

    def interactions(self, setup, partner, *values):
        Interaction = Pool().get('prm.interaction')
        return Interaction.create([{
                    'company': setup.company.id,
                    'party': partner.party.id,
                    'partner': partner.id,
                    'population': 'partner',
                    'channel': setup.channel.id,
                    'direction': 'out',
                    'date': dt.datetime.combine(date, dt.time(12)),
                    'sentiment': sentiment,
                    'state': 'done',
                    } for date, sentiment in values])

    def ago(self, setup, days=0, **delta):
        return setup.today - relativedelta(days=days, **delta)

    @with_setup
    def test_weights(self, setup):
        "The weights total 100"
        pool = Pool()
        Health = pool.get('prm.partner.health')
        Metric = pool.get('prm.health.metric')
        partners = self.partners(setup)
        # Without metric of its own the company uses the common ones
        common, = Health.take(partners)
        self.assertEqual({m.company for m in Metric.search([])}, {None})
        self.assertEqual(sum(l.weight for l in common.lines), 100)
        Metric.write(Metric.search([], limit=1), {'active': False})
        with self.assertRaisesRegex(
                HealthWeightError,
                'The weights of the health metrics of "any company" total '
                '80.00 but must total 100. Change them before.'):
            Health.take(partners)
        create_metrics(setup.company, recency=40, frequency=50)
        with self.assertRaises(HealthWeightError) as cm:
            Health.take(partners)
        self.assertEqual(
            cm.exception.message,
            'The weights of the health metrics of "Dunder Mifflin" total '
            '90.00 but must total 100. Change them before.')
        create_metrics(setup.company, sentiment=10)
        self.assertEqual(len(Health.take(partners)), 1)
        with self.assertRaises(HealthMetricError) as cm:
            create_metrics(setup.company, revenue=1)
        self.assertEqual(
            cm.exception.message,
            'The weights of the health metrics of "Dunder Mifflin" would '
            'total 101.00 but must total 100. Lower another one first.')
        with self.assertRaises(HealthMetricError) as cm:
            Metric.write(Metric.search([], limit=1), {
                    'worst': D(1), 'best': D(1)})
        self.assertEqual(
            cm.exception.message,
            'The worst and the best value of the metric "Days since the Last '
            'Interaction" must be different.')

    @with_setup
    def test_points(self, setup):
        "The points go from 0 at the worst to 100 at the best"
        Metric = Pool().get('prm.health.metric')

        @given(worst=NUMBERS, best=NUMBERS, value=NUMBERS)
        @settings(max_examples=50, deadline=None)
        def check(worst, best, value):
            assume(worst != best)
            metric = Metric(worst=worst, best=best)
            self.assertEqual(metric.get_points(worst), 0)
            self.assertEqual(metric.get_points(best), 100)
            self.assertEqual(metric.get_points(None), 50)
            points = metric.get_points(value)
            self.assertGreaterEqual(points, 0)
            self.assertLessEqual(points, 100)
            if min(worst, best) <= value <= max(worst, best):
                self.assertLessEqual(
                    abs(points
                        - 100 * abs(value - worst) / abs(best - worst)),
                    D('0.005'))
        check()

    @with_setup
    def test_metrics(self, setup):
        "Each metric is measured and its contribution kept"
        pool = Pool()
        Complaint = pool.get('sale.complaint')
        ComplaintType = pool.get('sale.complaint.type')
        Health = pool.get('prm.partner.health')
        Model = pool.get('ir.model')
        Partner = pool.get('prm.partner')
        metrics = create_metrics(
            setup.company, recency=30, frequency=10, sentiment=10,
            overdue=10, gestures=10, revenue=20, complaints=10)
        partner, quiet = self.partners(setup, 2)
        self.interactions(
            setup, partner,
            (self.ago(setup, 60), 1),
            (self.ago(setup, 61), None),
            (self.ago(setup, months=7), 0),
            (self.ago(setup, months=8), 1),
            (self.ago(setup, months=13), -2))
        date = setup.today
        invoice = setup.invoice((1, '1000', []), party=partner.party)
        setup.grant(setup.concession('250', invoice, party=partner.party))
        type_ = ComplaintType(
            name="Late", origin=Model.search([
                    ('name', '=', 'sale.sale')])[0])
        type_.save()
        Complaint.create([{
                    'date': date, 'customer': partner.party.id,
                    'company': setup.company.id, 'type': type_.id}])

        health, none = Health.take([partner, quiet])
        later = date + dt.timedelta(days=90)
        values = {l.metric.kind: l.value for l in health.lines}
        self.assertEqual(values, {
                'recency': D(60),
                'frequency': D(2),
                'sentiment': D('0.5'),
                'overdue': D(0),
                'gestures': D(250),
                'revenue': D(20),
                'complaints': D(1),
                })
        points = {l.metric.kind: l.points for l in health.lines}
        self.assertEqual(points, {
                'recency': D(80),
                'frequency': D('33.33'),
                'sentiment': D(75),
                'overdue': D(100),
                'gestures': D(75),
                'revenue': D(100),
                'complaints': D('66.67'),
                })
        self.assertEqual(
            {l.metric.kind: l.contribution for l in health.lines}, {
                'recency': D(24),
                'frequency': D('3.33'),
                'sentiment': D('7.5'),
                'overdue': D(10),
                'gestures': D('7.5'),
                'revenue': D(20),
                'complaints': D('6.67'),
                })
        self.assertEqual(health.score, D('79'))
        self.assertIsNone(health.change)
        # Nothing known of the sentiment and the revenue is neutral
        self.assertEqual(
            {l.metric.kind: l.value for l in none.lines
                if l.value is None or l.metric.kind == 'recency'},
            {'recency': D(180), 'sentiment': None, 'revenue': None})
        self.assertEqual(none.score, D(0 + 0 + 5 + 10 + 10 + 10 + 10))
        overdue = metrics[3]
        self.assertEqual(
            overdue._measure_overdue([partner], later)[partner.id], D(750))

        self.assertEqual(
            [p.health_score for p in Partner.browse([partner, quiet])],
            [D(79), D(45)])
        self.assertEqual(
            Partner.search([('health_score', '>=', D(50))]), [partner])
        self.assertEqual(
            Partner.search([], order=[('health_score', 'ASC')]),
            [quiet, partner])

    @with_setup
    def test_follow_up(self, setup):
        "A score that falls below the threshold opens a follow-up, once"
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        Health = pool.get('prm.partner.health')
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        configuration = Configuration(1)
        configuration.health_threshold = D(50)
        configuration.health_channel = setup.channel
        configuration.save()
        create_metrics(setup.company, recency=100)
        fallen, good = self.partners(setup, 2)
        self.interactions(setup, fallen, (self.ago(setup, 90), None))
        self.interactions(
            setup, good, *((self.ago(setup, d), None) for d in [5, 12, 19]))

        weeks = [
            setup.today - dt.timedelta(days=14 - 7 * i) for i in range(3)]
        for i, date in enumerate(weeks):
            with patch.object(
                    pool.get('ir.date'), 'today', lambda timezone=None: date):
                Health.take([fallen, good], date=date)
        self.assertEqual(
            [h.score for h in fallen.healths],
            [D(60), D('64.67'), D('69.33')])
        self.assertEqual(
            [h.change for h in fallen.healths],
            [D('-4.67'), D('-4.66'), None])
        self.assertEqual(
            Partner.search([('health_change', '<', 0)]), [fallen])
        self.assertEqual(Interaction.search([('state', '=', 'planned')]), [])

        Health.take([fallen, good], date=setup.today + dt.timedelta(days=30))
        Health.take([fallen, good], date=setup.today + dt.timedelta(days=30))
        Health.take([fallen, good], date=setup.today + dt.timedelta(days=37))
        follow_up, = Interaction.search([('state', '=', 'planned')])
        self.assertEqual(follow_up.partner, fallen)
        self.assertEqual(follow_up.employee, setup.employee)
        self.assertEqual(
            follow_up.subject,
            f"The health of {fallen.rec_name} fell to 40.00")
        self.assertEqual(
            follow_up.body,
            "Days since the Last Interaction: 120.00 gives 40.00 of 100.00")

    @with_setup
    def test_protected(self, setup):
        "The scores are not edited"
        pool = Pool()
        Health = pool.get('prm.partner.health')
        create_metrics(setup.company, recency=100)
        health, = Health.take(self.partners(setup))
        with check_access():
            for func in [
                    lambda: Health.write([health], {'score': D(100)}),
                    lambda: Health.delete([health])]:
                with self.assertRaises(HealthAccessError) as cm:
                    func()
                self.assertEqual(
                    cm.exception.message,
                    f'You cannot modify or delete the score '
                    f'"{health.rec_name}". Take another instead.')

    @with_setup
    def test_statements(self, setup):
        "The number of statements does not depend on the partners"
        pool = Pool()
        Health = pool.get('prm.partner.health')
        Partner = pool.get('prm.partner')
        create_metrics(
            setup.company, recency=30, frequency=10, sentiment=10,
            overdue=10, gestures=10, revenue=20, complaints=10)
        counts = []
        for count in [2, 20]:
            partners = self.partners(setup, count)
            with count_statements() as statements:
                Health.take(Partner.browse(partners))
                Health.take(Partner.browse(partners))
                [p.health_score for p in Partner.browse(partners)]
            counts.append(len([
                        s for s in statements
                        if not s.startswith('INSERT')]))
        self.assertLessEqual(counts[1], counts[0])
