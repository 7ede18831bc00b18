# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from unittest.mock import patch

from trytond.model.exceptions import ValidationError
from trytond.modules.company.tests import create_employee, set_company
from trytond.modules.prm.trytond_prm.partner.exceptions import (
    AgreementDeleteError, AgreementStateError)
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction

from .test_partner import create_partners
from .tools import SharedMixin, count_statements, get_company

TODAY = dt.date.today()
DAY = dt.timedelta(days=1)


class AgreementTestCase(SharedMixin, unittest.TestCase):
    "Test agreements"

    def create(self, partners, **values):
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        Type = pool.get('prm.agreement.type')
        type_ = Type(name="Distribution", notice_days=30, terms="Terms")
        type_.save()
        values.setdefault('signature_date', TODAY - 100 * DAY)
        values.setdefault('start_date', TODAY - 90 * DAY)
        return Agreement.create([
                dict(partner=p.id, type=type_.id, **values)
                for p in partners])

    @with_transaction()
    def test_workflow(self):
        "An agreement is signed and terminated"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            agreement, = self.create([partner])
            self.assertEqual(agreement.state, 'draft')
            Agreement.terminate([agreement])
            self.assertEqual(agreement.state, 'draft')
            Agreement.sign([agreement])
            self.assertEqual(agreement.state, 'signed')
            Agreement.terminate([agreement])
            self.assertEqual(agreement.state, 'terminated')
            self.assertEqual(agreement.end_date, TODAY)
            with self.assertRaisesRegex(
                    AgreementDeleteError,
                    r'You cannot delete the agreement "Distribution - \[.*\] '
                    'Party 0" because it is no longer a draft.'):
                Agreement.delete([agreement])
            copy, = Agreement.copy([agreement])
            self.assertEqual(copy.state, 'draft')
            self.assertEqual(copy.signature_date, None)
            Agreement.delete([copy])

    @with_transaction()
    def test_errors(self):
        "An agreement needs its dates"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            for values in [{'signature_date': None}, {'start_date': None}]:
                agreement, = self.create([partner], **values)
                with self.assertRaisesRegex(
                        AgreementStateError,
                        'you must set its signature date and its start '
                        'date.'):
                    Agreement.sign([agreement])
            agreement, = self.create([partner], start_date=TODAY + DAY)
            Agreement.sign([agreement])
            with self.assertRaisesRegex(
                    AgreementStateError, 'because it has not started yet'):
                Agreement.terminate([agreement])
            with self.assertRaises(ValidationError):
                self.create([partner], end_date=TODAY - 91 * DAY)
            with self.assertRaises(ValidationError):
                self.create([partner], notice_days=-1)

    @with_transaction()
    def test_notice_date(self):
        "The notice starts some days before the end"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            agreement, = self.create(
                [partner], end_date=TODAY, notice_days=30)
            endless, = self.create([partner])
            notice_date = TODAY - 30 * DAY
            self.assertEqual(agreement.notice_date, notice_date)
            self.assertEqual(endless.notice_date, None)
            for clause, result in [
                    (('notice_date', '=', notice_date), [agreement]),
                    (('notice_date', '<', notice_date), []),
                    (('notice_date', '<=', notice_date), [agreement]),
                    (('notice_date', '>', notice_date - DAY), [agreement]),
                    (('notice_date', '=', None), [endless]),
                    (('notice_date', '!=', None), [agreement])]:
                self.assertEqual(
                    Agreement.search([clause]), result, msg=clause)

    @with_transaction()
    def test_follow_up(self):
        "The task lapses what is over and notifies once"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        Date = pool.get('ir.date')
        User = pool.get('res.user')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            user = User(
                name="Manager", login='manager', companies=[company.id],
                company=company.id, employees=[employee.id],
                employee=employee.id)
            user.save()
            partner, = create_partners(company, manager=employee.id)
            agreement, later, endless = [
                self.create([partner], end_date=date, notice_days=30)[0]
                for date in [TODAY + 30 * DAY, TODAY + 31 * DAY, None]]
            Agreement.sign([agreement, later, endless])

            notifications = Transaction().user_notifications
            before = len(notifications)
            Agreement.follow_up()
            self.assertEqual(len(notifications), before + 1)
            notification = notifications[-1]
            self.assertEqual(notification.user, user)
            self.assertEqual(notification.model, 'prm.agreement')
            self.assertEqual(notification.records, f'[{agreement.id}]')
            self.assertEqual(agreement.noticed, TODAY)
            self.assertEqual(later.noticed, None)
            Agreement.follow_up()
            self.assertEqual(len(notifications), before + 1)
            self.assertEqual(agreement.state, 'signed')

            with patch.object(
                    Date, 'today',
                    lambda timezone=None: TODAY + 31 * DAY):
                Agreement.follow_up()
            self.assertEqual(
                [Agreement(a.id).state for a in [
                        agreement, later, endless]],
                ['lapsed', 'signed', 'signed'])

    @with_transaction()
    def test_warning(self):
        "The manager is warned before the notice date"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            due, later, given = [
                self.create(
                    [partner], end_date=TODAY + days * DAY,
                    notice_days=30, warning_days=10, renewal_months=12)[0]
                for days in [40, 41, 40]]
            Agreement.sign([due, later, given])
            Agreement.give_notice([given])
            self.assertEqual(due.notice_date, TODAY + 10 * DAY)
            self.assertEqual(due.warning_date, TODAY)
            Agreement.follow_up()
            self.assertEqual(
                [a.noticed for a in [due, later, given]],
                [TODAY, None, None])

    @with_transaction()
    def test_renewal(self):
        "An agreement is renewed unless notice was given in time"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            values = {
                'start_date': dt.date(2020, 1, 1),
                'end_date': dt.date(2020, 6, 30),
                'notice_days': 30,
                }
            renewed, = self.create([partner], renewal_months=6, **values)
            given, = self.create([partner], renewal_months=6, **values)
            lapsed, = self.create([partner], **values)
            agreements = [renewed, given, lapsed]
            Agreement.sign(agreements)
            today = {'date': dt.date(2020, 5, 31)}
            with patch.object(
                    pool.get('ir.date'), 'today',
                    lambda timezone=None: today['date']):
                Agreement.give_notice([given])
                Agreement.follow_up()
                self.assertEqual(renewed.noticed, today['date'])
                today['date'] = dt.date(2020, 6, 1)
                with self.assertRaises(AgreementStateError) as cm:
                    Agreement.give_notice([renewed])
                self.assertEqual(
                    cm.exception.message,
                    'You cannot give notice of the agreement '
                    f'"{renewed.rec_name}" because it was possible until '
                    '05/31/2020.')
                today['date'] = dt.date(2020, 7, 1)
                Agreement.follow_up()
                self.assertEqual(
                    [(a.state, a.end_date) for a in agreements], [
                        ('signed', dt.date(2020, 12, 31)),
                        ('lapsed', dt.date(2020, 6, 30)),
                        ('lapsed', dt.date(2020, 6, 30)),
                        ])
                self.assertIsNone(renewed.noticed)
                today['date'] = dt.date(2022, 1, 1)
                Agreement.follow_up()
            self.assertEqual(
                [(r.from_date, r.to_date) for r in renewed.renewals], [
                    (dt.date(2021, 12, 31), dt.date(2022, 6, 30)),
                    (dt.date(2021, 6, 30), dt.date(2021, 12, 31)),
                    (dt.date(2020, 12, 31), dt.date(2021, 6, 30)),
                    (dt.date(2020, 6, 30), dt.date(2020, 12, 31)),
                    ])

    @with_transaction()
    def test_checklist(self):
        "What is required is agreed on before the signature"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        Type = pool.get('prm.agreement.type')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            type_ = Type(
                name="Distribution", warning_days=10, renewal_months=12,
                checklist=[
                    {'name': "Prices"},
                    {'name': "Exclusivity", 'required': False}])
            type_.save()
            agreement = Agreement(
                partner=partner, type=type_, signature_date=TODAY,
                start_date=TODAY)
            agreement.on_change_type()
            agreement.save()
            self.assertEqual(agreement.warning_days, 10)
            self.assertEqual(agreement.renewal_months, 12)
            with self.assertRaises(AgreementStateError) as cm:
                Agreement.sign([agreement])
            self.assertEqual(
                cm.exception.message,
                f'To sign the agreement "{agreement.rec_name}" you must '
                'agree on "Prices" before.')
            prices, exclusivity = agreement.checklist
            prices.agreed = True
            prices.save()
            Agreement.sign([Agreement(agreement.id)])
            self.assertEqual(agreement.state, 'signed')
            copy, = Agreement.copy([agreement])
            self.assertEqual(
                [t.agreed for t in copy.checklist], [False, False])

    @with_transaction()
    def test_statements(self):
        "The task has a constant number of statements"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            counts = []
            for count in [10, 100]:
                partners = create_partners(
                    company, count, manager=employee.id)
                Agreement.sign(self.create(partners, end_date=TODAY - DAY))
                Agreement.sign(self.create(partners, end_date=TODAY))
                Agreement.sign(self.create(
                        partners, end_date=TODAY - DAY, renewal_months=1))
                with count_statements() as statements:
                    Agreement.follow_up()
                counts.append(len([
                            s for s in statements
                            if not s.startswith('INSERT')]))
            self.assertLessEqual(counts[1], counts[0] + 3)
