# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from trytond.model.exceptions import SQLConstraintError
from trytond.modules.company.tests import create_employee
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    ExposureAccessError, ExposureError, ExposureValidationError)
from trytond.modules.prm.trytond_prm.exceptions import WorkflowAccessError
from trytond.pool import Pool
from trytond.transaction import Transaction, check_access

from .concession_tools import SetupMixin, with_setup
from .tools import count_statements

D = Decimal
DAY = dt.timedelta(days=1)


def create_parties(*names):
    Party = Pool().get('party.party')
    return Party.create([
            {'name': n, 'addresses': [('create', [{}])]} for n in names])


class ExposureTestCase(SetupMixin, unittest.TestCase):
    "Test the exposure of the leaver"

    def set_up(self, setup):
        "Create a leaver with a partner, a customer and a former partner"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        Separation = pool.get('prm.separation')
        company = setup.company
        leaver = create_employee(company, name="Leaver")
        other = create_employee(company, name="Other")
        partner, customer, stranger, quiet = parties = create_parties(
            "Partner", "Customer", "Stranger", "Quiet")
        Partner.create([{
                    'company': company.id,
                    'party': party.id,
                    'manager': manager.id,
                    'start_date': setup.today - 800 * DAY,
                    } for party, manager in [
                        (partner, leaver), (stranger, other)]])
        channel = Channel(name="Phone", kind='phone')
        channel.save()
        now = dt.datetime.combine(setup.today, dt.time())
        interactions = Interaction.create([{
                    'company': company.id,
                    'party': party.id,
                    'population': 'customer',
                    'employee': employee.id,
                    'channel': channel.id,
                    'direction': 'out',
                    'date': now,
                    'subject': "Call",
                    } for party, employee in [
                        (customer, leaver), (stranger, other),
                        (quiet, leaver)]])
        Interaction.do(interactions)
        setup.invoice((1, '1000'), (1, '500'), party=partner)
        setup.invoice((-1, '200'), party=partner)
        setup.invoice((1, '300', [setup.tax]), party=customer)
        setup.invoice((1, '5000'), party=stranger)
        setup.invoice((1, '7000'), party=partner, post=False)
        separation, = Separation.create([{
                    'company': company.id,
                    'party': leaver.party.id,
                    'employee': leaver.id,
                    'milestones': [('create', [{
                                    'kind': 'announcement',
                                    'date': setup.today,
                                    }])],
                    }])
        return separation, other, parties

    @with_setup
    def test_compute(self, setup):
        "The exposure has the partners and the invoiced customers"
        Separation = Pool().get('prm.separation')
        separation, _, (partner, customer, _, _) = self.set_up(setup)

        Separation.compute_exposure([separation])

        self.assertEqual(separation.exposure_end, setup.today)
        self.assertLessEqual(
            (separation.exposure_end - separation.exposure_start).days, 366)
        self.assertEqual({
                e.party: (e.partner, e.revenue, e.state)
                for e in separation.exposures}, {
                partner: (True, D('1300'), 'open'),
                customer: (False, D('300'), 'open'),
                })
        self.assertEqual(separation.exposure_amount, D('1600'))
        self.assertEqual(separation.exposure_open, D('1600'))

        Separation.compute_exposure([separation])

        self.assertEqual(len(Separation(separation.id).exposures), 2)

    @with_setup
    def test_period(self, setup):
        "Only the revenue of the period is exposed"
        Separation = Pool().get('prm.separation')
        separation, _, (partner, _, _, _) = self.set_up(setup)
        separation.exposure_start = setup.today - 365 * DAY
        separation.exposure_end = setup.today - DAY
        separation.save()

        Separation.compute_exposure([separation])

        exposure, = separation.exposures
        self.assertEqual(
            (exposure.party, exposure.revenue), (partner, D('0')))
        self.assertEqual(separation.exposure_amount, D('0'))

    @with_setup
    def test_handover(self, setup):
        "What is not yet handled falls to zero"
        pool = Pool()
        Exposure = pool.get('prm.separation.exposure')
        Separation = pool.get('prm.separation')
        User = pool.get('res.user')
        separation, successor, (partner, customer, _, _) = self.set_up(setup)
        Separation.compute_exposure([separation])
        user = User(Transaction().user)
        User.write([user], {
                'employees': [('add', [successor.id])],
                'employee': successor.id,
                })
        first, second = sorted(
            separation.exposures, key=lambda e: -e.revenue)

        with self.assertRaisesRegex(ExposureError,
                r'To introduce the successor you must fill the successor of '
                r'the exposure "Leaver - Partner"\.'):
            Exposure.introduce([first])
        with check_access(), self.assertRaises(WorkflowAccessError):
            Exposure.write([first], {'state': 'accepted'})
        with self.assertRaisesRegex(ExposureValidationError,
                r'The successor of the exposure "Leaver - Partner" can not be '
                r'"Leaver" who leaves\. Choose another employee\.'):
            Exposure.write([first], {'successor': separation.employee.id})
        Exposure.write([first, second], {'successor': successor.id})
        first.introduced_date = setup.today - 2 * DAY
        first.save()
        Exposure.introduce([first, second])
        Exposure.co_visit([first])

        self.assertEqual(first.introduced_date, setup.today - 2 * DAY)
        self.assertEqual(second.introduced_date, setup.today)
        self.assertEqual(first.introduced_by, successor)
        self.assertEqual(first.co_visited_by, successor)
        self.assertEqual(
            Separation(separation.id).exposure_open, D('1600'))

        Exposure.accept([first])

        self.assertEqual(
            (first.state, first.accepted_date), ('accepted', setup.today))
        self.assertEqual(Separation(separation.id).exposure_open, D('300'))

        Exposure.accept([second])

        separation = Separation(separation.id)
        self.assertEqual(separation.exposure_open, D('0'))
        self.assertEqual(separation.exposure_amount, D('1600'))
        with self.assertRaisesRegex(ExposureAccessError,
                r'You can not delete the exposure "Leaver - Partner" because '
                r'its handover is started\. Reopen it first\.'):
            Exposure.delete([first])

        Exposure.reopen([first])

        self.assertEqual(
            (first.state, first.accepted_date, first.introduced_by),
            ('open', None, None))
        self.assertEqual(Separation(separation.id).exposure_open, D('1300'))
        Exposure.delete([first])

    @with_setup
    def test_employee(self, setup):
        "Without employee there is nothing to compute"
        Separation = Pool().get('prm.separation')
        separation, _, _ = self.set_up(setup)
        Separation.write([separation], {'employee': None})

        with self.assertRaisesRegex(ExposureError,
                r'To compute the exposure of the separation of "Leaver" you '
                r'must fill its employee\.'):
            Separation.compute_exposure([separation])

        separation = Separation(
            company=separation.company, party=separation.party)
        separation.on_change_party()
        self.assertEqual(separation.employee.party, separation.party)

    @with_setup
    def test_party_unique(self, setup):
        "A party is exposed once"
        pool = Pool()
        Exposure = pool.get('prm.separation.exposure')
        Separation = pool.get('prm.separation')
        separation, _, (partner, customer, _, _) = self.set_up(setup)
        # It may be typed without the button
        Exposure.create([{
                    'separation': separation.id,
                    'party': customer.id,
                    }])
        separation = Separation(separation.id)
        self.assertEqual(separation.exposure_end, setup.today)
        self.assertEqual(separation.exposure_open, D('300'))
        with self.assertRaisesRegex(SQLConstraintError,
                r'A party can be only once in the exposure of a separation\.'):
            Exposure.create([{
                        'separation': separation.id,
                        'party': partner.id,
                        }] * 2)

    @with_setup
    def test_statements(self, setup):
        "The statements do not depend on the number of exposures"
        pool = Pool()
        Exposure = pool.get('prm.separation.exposure')
        separation, successor, _ = self.set_up(setup)
        counts = []
        for n in [10, 100]:
            parties = create_parties(*map(str, range(n)))
            values = [{
                    'separation': separation.id,
                    'party': p.id,
                    'successor': successor.id,
                    } for p in parties]
            with count_statements() as create:
                exposures = Exposure.create(values)
            with count_statements() as read:
                Exposure.read(
                    [e.id for e in exposures], list(Exposure._fields))
            with count_statements() as buttons:
                Exposure.introduce(exposures)
                Exposure.co_visit(exposures)
                Exposure.accept(exposures)
                Exposure.reopen(exposures)
            # SQLite can only insert one by one
            create = [c for c in create if not c.startswith('INSERT')]
            buttons = [c for c in buttons if not c.startswith('INSERT')]
            counts.append((len(create), len(read), len(buttons)))

        for few, many in zip(*counts):
            self.assertLessEqual(many, few)
