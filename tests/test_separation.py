# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest

from trytond.modules.company.tests import create_company, set_company
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    SeparationMilestoneValidationError)
from trytond.pool import Pool
from trytond.tests.test_tryton import activate_module, with_transaction

from .tools import count_statements


def create_separation(company, name, **milestones):
    pool = Pool()
    Party = pool.get('party.party')
    Separation = pool.get('prm.separation')
    party = Party(name=name)
    party.save()
    separation, = Separation.create([{
                'company': company.id,
                'party': party.id,
                'milestones': [('create', [{
                                'kind': kind,
                                'date': dt.date.fromisoformat(date),
                                } for kind, date in milestones.items()])],
                }])
    return separation


class SeparationTestCase(unittest.TestCase):
    "Test the separation file"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')

    @with_transaction()
    def test_dates(self):
        "The dates are those of the milestones"
        Separation = Pool().get('prm.separation')
        company = create_company()
        with set_company(company):
            ended = create_separation(
                company, "A", differences='2007-06-15',
                announcement='2007-09-01', protocol='2007-10-31',
                last_payment='2008-02-29')
            open_ = create_separation(
                company, "B", announcement='2008-03-01')
            empty = create_separation(company, "C")

            self.assertEqual(
                (ended.start_date, ended.end_date),
                (dt.date(2007, 6, 15), dt.date(2008, 2, 29)))
            self.assertEqual(
                (open_.start_date, open_.end_date),
                (dt.date(2008, 3, 1), None))
            self.assertEqual((empty.start_date, empty.end_date), (None, None))
            for domain, result in [
                    ([('end_date', '=', None)], [open_, empty]),
                    ([('end_date', '!=', None)], [ended]),
                    ([('end_date', '<', dt.date(2008, 3, 1))], [ended]),
                    ([('start_date', '>=', dt.date(2007, 6, 15))],
                        [ended, open_]),
                    ([('start_date', '=', None)], [empty]),
                    ]:
                with self.subTest(domain=domain):
                    self.assertEqual(
                        set(Separation.search(domain)), set(result))
            self.assertEqual(
                Separation.search(
                    [('start_date', '!=', None)],
                    order=[('end_date', 'ASC NULLS FIRST')]),
                [open_, ended])

    @with_transaction()
    def test_phases(self):
        "The phases follow each other without a gap"
        Separation = Pool().get('prm.separation')
        company = create_company()
        with set_company(company):
            ended = create_separation(
                company, "A", differences='2007-06-15',
                last_payment='2008-02-29')
            open_ = create_separation(company, "B", protocol='2008-03-01')
            empty = create_separation(company, "C")

            self.assertEqual(Separation.get_phases([ended, open_, empty]), {
                    ended.id: {
                        'before': (None, dt.date(2007, 6, 14)),
                        'during': (
                            dt.date(2007, 6, 15), dt.date(2008, 2, 29)),
                        'after': (dt.date(2008, 3, 1), None),
                        },
                    open_.id: {
                        'before': (None, dt.date(2008, 2, 29)),
                        'during': (dt.date(2008, 3, 1), None),
                        },
                    empty.id: {
                        'before': (None, None),
                        },
                    })

    @with_transaction()
    def test_milestone_order(self):
        "Milestones can not contradict their order"
        company = create_company()
        with set_company(company):
            with self.assertRaisesRegex(SeparationMilestoneValidationError,
                    r'The separation of "A" has the milestone "Announcement" '
                    r'on 11/01/2007 after "Protocol" on 10/31/2007\. '
                    r'Correct one of the dates\.'):
                create_separation(
                    company, "A", announcement='2007-11-01',
                    protocol='2007-10-31')

    @with_transaction()
    def test_milestone_twice(self):
        "A milestone happens only once, except the others"
        Milestone = Pool().get('prm.separation.milestone')
        company = create_company()
        with set_company(company):
            separation = create_separation(
                company, "A", protocol='2007-10-31')
            Milestone.create([{
                        'separation': separation.id,
                        'kind': 'other',
                        'date': dt.date(2007, 1, d),
                        } for d in [1, 2]])

            with self.assertRaisesRegex(SeparationMilestoneValidationError,
                    r'The separation of "A" has the milestone "Protocol" '
                    r'twice, on 10/31/2007 and 11/01/2007\. '
                    r'Keep only one of them\.'):
                Milestone.create([{
                            'separation': separation.id,
                            'kind': 'protocol',
                            'date': dt.date(2007, 11, 1),
                            }])

    @with_transaction()
    def test_milestone_replace(self):
        "A milestone is replaced by another of its kind in one save"
        Separation = Pool().get('prm.separation')
        company = create_company()
        with set_company(company):
            separation = create_separation(
                company, "A", protocol='2007-10-31')
            milestone, = separation.milestones
            replace = [
                ('create', [{
                            'kind': 'protocol', 'date': dt.date(2007, 11, 1),
                            }]),
                ('delete', [milestone.id]),
                ]
            Separation.write([separation], {'milestones': replace})

            milestone, = separation.milestones
            self.assertEqual(milestone.date, dt.date(2007, 11, 1))
            with self.assertRaises(SeparationMilestoneValidationError):
                Separation.write(
                    [separation], {'milestones': replace[:1]})

    @with_transaction()
    def test_copy(self):
        "A copy has no milestone"
        Separation = Pool().get('prm.separation')
        company = create_company()
        with set_company(company):
            separation = create_separation(
                company, "A", protocol='2007-10-31')

            copy, = Separation.copy([separation])

            self.assertEqual(copy.milestones, ())
            self.assertEqual(len(separation.milestones), 1)

    @with_transaction()
    def test_statements(self):
        "The statements do not depend on the number of separations"
        pool = Pool()
        Party = pool.get('party.party')
        Separation = pool.get('prm.separation')
        company = create_company()
        with set_company(company):
            party = Party(name="A")
            party.save()
            counts = []
            for n in [10, 100]:
                values = [{
                        'company': company.id,
                        'party': party.id,
                        'milestones': [('create', [{
                                        'kind': 'protocol',
                                        'date': dt.date(2007, 10, 31),
                                        }])],
                        }] * n
                with count_statements() as create:
                    separations = Separation.create(values)
                with count_statements() as read:
                    Separation.read(
                        [s.id for s in separations],
                        list(Separation._fields))
                # SQLite can only insert one by one
                create = [c for c in create if not c.startswith('INSERT')]
                counts.append((len(create), len(read)))

            for few, many in zip(*counts):
                self.assertLessEqual(many, few)
                self.assertLessEqual(many, 30)
