# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest

from trytond.modules.company.tests import (
    create_company, create_employee, set_company)
from trytond.modules.prm.trytond_prm.partner.exceptions import (
    PartnerStateError)
from trytond.pool import Pool
from trytond.tests.test_tryton import activate_module, with_transaction

TODAY = dt.date.today()
DAY = dt.timedelta(days=1)


def create_partners(company, count=1, **values):
    pool = Pool()
    Party = pool.get('party.party')
    Partner = pool.get('prm.partner')
    parties = Party.create([
            {'name': f"Party {i}", 'addresses': []} for i in range(count)])
    values.setdefault('start_date', dt.date(2020, 1, 1))
    return Partner.create([
            dict(company=company.id, party=p.id, **values) for p in parties])


def activate(partners):
    Partner = Pool().get('prm.partner')
    Partner.onboard(partners)
    Partner.activate(partners)


class PartnerTestCase(unittest.TestCase):
    "Test partners"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')

    @with_transaction()
    def test_workflow(self):
        "A partner goes through its states"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Reason = pool.get('prm.partner.end_reason')
        company = create_company()
        with set_company(company):
            employee = create_employee(company)
            partner, = create_partners(company, manager=employee.id)
            reason = Reason(name="Lost")
            reason.save()

            self.assertEqual(partner.state, 'prospect')
            self.assertEqual(partner.manager, employee)
            Partner.onboard([partner])
            self.assertEqual(partner.state, 'onboarding')
            Partner.activate([partner])
            self.assertEqual(partner.state, 'active')
            Partner.suspend([partner])
            self.assertEqual(partner.state, 'suspended')
            Partner.resume([partner])
            self.assertEqual(partner.state, 'active')
            with self.assertRaisesRegex(
                    PartnerStateError, "end date and its end reason"):
                Partner.end([partner])
            partner.end_date = TODAY - DAY
            partner.end_reason = reason
            partner.save()
            Partner.end([partner])
            self.assertEqual(partner.state, 'ended')
            self.assertEqual(partner.manager, employee)
            manager, = partner.managers
            self.assertEqual(manager.end_date, TODAY - DAY)
