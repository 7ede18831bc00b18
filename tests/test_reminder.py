# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from unittest.mock import patch

from trytond.model.exceptions import ValidationError
from trytond.model.modelsql import SQLConstraintError
from trytond.modules.company.tests import create_employee, set_company
from trytond.modules.prm.trytond_prm.interaction import reminder
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction

from .test_interaction import create_interactions
from .test_partner import create_parties
from .tools import SharedMixin, count_statements, get_company

NOW = dt.datetime.now().replace(microsecond=0)
HOUR = dt.timedelta(hours=1)


class ReminderTestCase(SharedMixin, unittest.TestCase):
    "Test reminders"

    def send(self):
        Reminder = Pool().get('prm.interaction.reminder')
        with patch.object(
                reminder, 'send_message_transactional') as send_message:
            Reminder.send()
            return [c.args[0] for c in send_message.call_args_list]

    def create_user(self, company, employee):
        User = Pool().get('res.user')
        user = User(
            name="User", login='user', companies=[company.id],
            company=company.id, employees=[employee.id],
            employee=employee.id)
        user.save()
        return user

    @with_transaction()
    def test_send(self):
        "Each reminder is sent once when it is due"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        Party = pool.get('party.party')
        company = get_company()
        company.timezone = 'Europe/Paris'
        company.save()
        with set_company(company):
            employee = create_employee(company, "Ada")
            Party.write([employee.party], {
                    'contact_mechanisms': [('create', [{
                                    'type': 'email',
                                    'value': 'ada@example.com',
                                    }])],
                    })
            user = self.create_user(company, employee)
            party, = create_parties()
            interaction, cancelled, nobody = create_interactions(
                {'employee': employee.id, 'subject': "Offer"},
                {'employee': employee.id},
                {},
                party=party.id, date=NOW + 2 * HOUR,
                reminders=[('create', [
                            {'before': 24 * HOUR},
                            {'before': HOUR},
                            ])])
            Interaction.cancel([cancelled])

            notifications = Transaction().user_notifications
            before = len(notifications)
            message, = self.send()
            self.assertEqual(message['To'], 'Ada <ada@example.com>')
            self.assertEqual(
                message['Subject'], "Reminder: Offer - Party 0")
            self.assertIn("Offer - Party 0 (Phone)", message.get_content())
            notification, = notifications[before:]
            self.assertEqual(notification.user, user)
            self.assertEqual(notification.records, f'[{interaction.id}]')
            self.assertEqual(self.send(), [])
            self.assertEqual(len(notifications), before + 1)

            with patch.object(
                    Interaction, 'default_date',
                    lambda: NOW + HOUR):
                self.assertEqual(len(self.send()), 1)
                self.assertEqual(self.send(), [])
            self.assertTrue(all(r.sent for r in interaction.reminders))
            self.assertFalse(any(r.sent for r in nobody.reminders))

    @with_transaction()
    def test_errors(self):
        "A reminder is before the interaction and once for a time"
        company = get_company()
        with set_company(company):
            party, = create_parties()
            for before in [-HOUR, 367 * 24 * HOUR]:
                with self.assertRaises(ValidationError):
                    create_interactions({
                            'party': party.id,
                            'reminders': [('create', [{'before': before}])],
                            })
            with self.assertRaisesRegex(
                    SQLConstraintError, 'only have one reminder'):
                create_interactions({
                        'party': party.id,
                        'reminders': [
                            ('create', [{'before': HOUR}] * 2)],
                        })

    @with_transaction()
    def test_statements(self):
        "The task has a constant number of statements"
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            self.create_user(company, employee)
            party, = create_parties()
            counts = []
            for count in [10, 200]:
                create_interactions(
                    *[{} for _ in range(count)],
                    party=party.id, employee=employee.id, date=NOW,
                    reminders=[('create', [{'before': HOUR}])])
                with count_statements() as statements:
                    self.send()
                counts.append(len(statements))
            self.assertLessEqual(counts[1], counts[0] + 3)
