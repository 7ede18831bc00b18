# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import json
import unittest

from trytond.modules.company.tests import (
    create_company, create_employee, set_company)
from trytond.modules.prm.trytond_prm.interaction.exceptions import (
    InteractionImportError)
from trytond.pool import Pool
from trytond.tests.test_tryton import (
    activate_module, drop_db, with_transaction)
from trytond.transaction import Transaction

from .test_mail import mail
from .test_partner import create_parties
from .tools import ALL_MODULES


class InboundEmailTestCase(unittest.TestCase):
    "Test the inbound e-mails"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        drop_db()
        activate_module(ALL_MODULES)

    @classmethod
    def tearDownClass(cls):
        drop_db()
        super().tearDownClass()

    def setup(self):
        pool = Pool()
        ContactMechanism = pool.get('party.contact_mechanism')
        Inbox = pool.get('inbound.email.inbox')
        company = create_company()
        with set_company(company):
            bob, = create_parties(name="Customer")
            alice = create_employee(company, "Alice")
        ContactMechanism.create([
                {'party': p.id, 'type': 'email', 'value': v} for p, v in [
                    (bob, 'bob@customer.example'),
                    (alice.party, 'alice@company.example')]])
        inbox, = Inbox.create([{
                    'name': "Company",
                    'rules': [('create', [{
                                    'action':
                                    'prm.interaction|import_inbound_email',
                                    'prm_company': company.id,
                                    }])],
                    }])
        return company, bob, alice, inbox

    def receive(self, inbox, data, type_='raw'):
        "Receive the e-mail like the route does"
        Email = Pool().get('inbound.email')
        with Transaction().set_user(0):
            emails = Email.from_webhook(inbox, data, type_)
            for email in emails:
                inbox.process(email)
            Email.save(emails)
            return emails[0].result

    @with_transaction()
    def test_known(self):
        "The e-mail of a known address becomes an interaction, once"
        pool = Pool()
        Attachment = pool.get('ir.attachment')
        company, bob, alice, inbox = self.setup()
        data = mail(attachments=[('plan.pdf', b'%PDF')])
        first = self.receive(inbox, data)
        self.assertEqual(first.__name__, 'prm.interaction')
        self.assertEqual(first.company, company)
        self.assertEqual(first.party, bob)
        self.assertEqual(first.employee, alice)
        self.assertEqual(first.direction, 'in')
        attachment, = Attachment.search([])
        self.assertEqual(attachment.resource, first)
        self.assertEqual(self.receive(inbox, data), first)
        reply = self.receive(inbox, mail(2, references=[1]))
        self.assertEqual(reply.previous, first)
        for number, (type_, key) in enumerate([
                    ('mailpace', 'raw'), ('sendgrid', 'email')], 3):
            interaction = self.receive(
                inbox, json.dumps({key: mail(number).decode()}).encode(),
                type_)
            self.assertEqual(interaction.subject, f"Offer {number}")
        interaction = self.receive(inbox, json.dumps({
                    'FromFull': {'Email': 'bob@customer.example'},
                    'ToFull': [{'Email': 'alice@company.example'}],
                    'Subject': "Postmark",
                    'TextBody': "Hello",
                    'Headers': [{
                            'Name': 'In-Reply-To',
                            'Value': '<2@customer.example>'}],
                    'Attachments': [{
                            'Name': 'a.pdf',
                            'ContentType': 'application/pdf',
                            'Content': 'JVBERg==',
                            }],
                    }).encode(), 'postmark')
        self.assertEqual(interaction.subject, "Postmark")
        self.assertEqual(interaction.body, "Hello")
        self.assertEqual(interaction.previous, reply)

    @with_transaction()
    def test_unknown(self):
        "The e-mail of an unknown address waits for its party"
        pool = Pool()
        Mail = pool.get('prm.interaction.mail')
        company, bob, _, inbox = self.setup()
        data = mail(from_="Ann <ann@customer.example>")
        to_sort = self.receive(inbox, data)
        self.assertEqual(to_sort.__name__, 'prm.interaction.mail')
        self.assertEqual(to_sort.state, 'new')
        self.assertEqual(to_sort.sender, 'ann@customer.example')
        self.assertEqual(to_sort.body, "Hello")
        self.assertEqual(self.receive(inbox, data), to_sort)
        with set_company(company):
            with self.assertRaisesRegex(
                    InteractionImportError,
                    'You cannot import the mail "ann@customer.example - '
                    'Offer 1" without the address and the party of its '
                    'other side. Choose the party or discard the mail.'):
                Mail.import_([to_sort])
            Mail.discard([to_sort])
            Mail.restore([to_sort])
            Mail.write([to_sort], {'party': bob.id})
            Mail.import_([to_sort])
            to_sort = Mail(to_sort.id)
            self.assertEqual(to_sort.state, 'sorted')
            self.assertEqual(to_sort.interaction.party, bob)
            self.assertEqual(
                to_sort.interaction.contact.value, 'ann@customer.example')
            Erase = pool.get('party.erase', type='wizard')
            Session = pool.get('ir.session.wizard')
            session = Session()
            session.save()
            erased = Erase(session.id).to_erase(bob.id)
            self.assertIn(
                [('party', '=', bob.id)],
                [d for M, d, *_ in erased if M == Mail])
        # The address is known from now on
        self.assertEqual(
            self.receive(
                inbox, mail(2, from_="ann@customer.example")).party, bob)

    @with_transaction()
    def test_malformed(self):
        "The e-mail that cannot be read is kept"
        company, _, _, inbox = self.setup()
        for data, type_ in [
                (b'\x00\xff Nothing', 'raw'), (b'{"raw": 1}', 'mailpace')]:
            with self.subTest(data=data):
                to_sort = self.receive(inbox, data, type_)
                self.assertEqual(to_sort.__name__, 'prm.interaction.mail')
                self.assertEqual(bytes(to_sort.data), data)
                self.assertEqual(to_sort.sender, None)
