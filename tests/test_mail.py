# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from email.message import EmailMessage

from trytond.modules.company.tests import create_employee, set_company
from trytond.modules.prm.trytond_prm.interaction.exceptions import (
    InteractionImportError)
from trytond.modules.prm.trytond_prm.interaction.message import (
    MessageError, read_events, read_mails)
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction
from trytond.tools import timezone as tz

from .test_interaction import create_interactions
from .test_partner import create_parties
from .tools import SharedMixin, count_statements, get_company

PARIS = tz.get_tzinfo('Europe/Paris')


def mail(number=1, from_="Bob <Bob@Customer.example>",
        to="alice@company.example", text="Hello", references=None,
        attachments=(), date="Tue, 2 Jul 2024 10:00:00 +0200"):
    message = EmailMessage()
    message['From'] = from_
    message['To'] = to
    message['Subject'] = f"Offer {number}"
    message['Message-ID'] = f'<{number}@customer.example>'
    if date:
        message['Date'] = date
    if references:
        message['In-Reply-To'] = f'<{references[-1]}@customer.example>'
        message['References'] = ' '.join(
            f'<{r}@customer.example>' for r in references)
    message.set_content(text)
    for name, data in attachments:
        message.add_attachment(
            data, maintype='application', subtype='pdf', filename=name)
    return message.as_bytes()


def mbox(*mails):
    return b''.join(
        b'From bob@customer.example Tue Jul  2 10:00:00 2024\n' + m + b'\n'
        for m in mails)


def calendar(*events):
    return '\r\n'.join([
            'BEGIN:VCALENDAR', 'VERSION:2.0', 'PRODID:-//Test//EN',
            *[l for e in events
                for l in ['BEGIN:VEVENT', *e, 'END:VEVENT']],
            'END:VCALENDAR', '']).encode()


class MessageTestCase(unittest.TestCase):
    "Test the reading of messages"

    def test_mail(self):
        "An e-mail is read with its attachments"
        message, = read_mails(mail(
                references=[3, 2], text="Bonne journée\n",
                attachments=[('plan.pdf', b'%PDF\x00')]))
        self.assertEqual(message.identifier, '<1@customer.example>')
        self.assertEqual(message.sender, 'bob@customer.example')
        self.assertEqual(message.recipients, ['alice@company.example'])
        self.assertEqual(message.date, dt.datetime(2024, 7, 2, 8))
        self.assertEqual(message.body, "Bonne journée")
        self.assertEqual(
            message.references,
            ['<2@customer.example>', '<3@customer.example>'])
        self.assertEqual(message.attachments, [('plan.pdf', b'%PDF\x00')])

    def test_malformed(self):
        "What is broken is read as far as possible or refused"
        html, = read_mails(
            b'From: a@b.example\nContent-Type: text/html; charset=unknown\n\n'
            b'<p>One<script>evil()</script></p><p>T\x00wo</p>')
        self.assertEqual(html.body, "One\nTwo")
        self.assertEqual(html.date, None)
        self.assertEqual(len(html.identifier), 66)
        for data in [b'', b'\x00\xff' * 100, b'%PDF-1.4\n', b'To: a@b.c\n\n']:
            with self.subTest(data=data[:10]), \
                    self.assertRaises(MessageError):
                read_mails(data)
        for data in [
                b'Subject: =?unknown?b?////?=\nFrom: a@b.example\n\n',
                b'From: a@b.example\nDate: Foo, 99 Bar 99999\n\n',
                b'From: a@b.example\nContent-Type: multipart/mixed\n\nx',
                b'From: a@b.example\n'
                b'Content-Type: multipart/mixed; boundary=x\n\n--x\n\n--y',
                b'From: a@b.example\nContent-Transfer-Encoding: base64\n\n!!',
                b'From: a@b.example\nMessage-ID: <[bad\n\n',
                ]:
            with self.subTest(data=data):
                message, = read_mails(data)
                self.assertEqual(message.sender, 'a@b.example')
        with self.assertRaises(MessageError) as cm:
            read_mails(mbox(mail(), b'Subject: Without sender\n\n'))
        self.assertEqual(cm.exception.number, 2)

    def test_events(self):
        "The moments of the events are in UTC"
        utc, zone, floating, day = read_events(calendar(
                ['UID:1', 'DTSTART:20240702T080000Z', 'DURATION:PT1H'],
                ['UID:2', 'DTSTART;TZID=Europe/Paris:20240702T080000',
                    'DTEND;TZID=Europe/Paris:20240702T083000'],
                ['UID:3', 'DTSTART:20240702T080000'],
                ['UID:4', 'DTSTART;VALUE=DATE:20240702'],
                ['UID:5', 'DTSTART:20240702T080000', 'STATUS:CANCELLED']),
            PARIS)
        self.assertEqual(utc.date, dt.datetime(2024, 7, 2, 8))
        self.assertEqual(utc.duration, dt.timedelta(hours=1))
        self.assertEqual(zone.date, dt.datetime(2024, 7, 2, 6))
        self.assertEqual(zone.duration, dt.timedelta(minutes=30))
        self.assertEqual(floating.date, dt.datetime(2024, 7, 2, 6))
        self.assertEqual(day.date, dt.datetime(2024, 7, 1, 22))
        for data in [
                b'BEGIN:VCALENDAR\n', calendar(['UID:1']),
                calendar(['UID:1', 'DTSTART:20240702T0800'
                        '00Z', 'DTEND:20240701T080000Z'])]:
            with self.subTest(data=data), self.assertRaises(MessageError):
                read_events(data, PARIS)


class ImportTestCase(SharedMixin, unittest.TestCase):
    "Test the import of messages"

    def setup(self):
        ContactMechanism = Pool().get('party.contact_mechanism')
        company = get_company()
        with set_company(company):
            bob, = create_parties(name="Customer")
            alice = create_employee(company, "Alice")
        ContactMechanism.create([
                {'party': p.id, 'type': 'email', 'value': v} for p, v in [
                    (bob, 'bob@customer.example'),
                    (alice.party, 'Alice@company.example')]])
        return company, bob, alice

    def run_wizard(self, company, data, filename='mail.eml', party=None):
        pool = Pool()
        Import = pool.get('prm.interaction.import', type='wizard')
        session_id, _, _ = Import.create()
        wizard = Import(session_id)
        wizard.start.company = company
        wizard.start.employee = None
        wizard.start.party = party
        wizard.start.file = data
        wizard.start.filename = filename
        wizard.transition_import_()
        return wizard.default_result([])

    @with_transaction()
    def test_mbox(self):
        "The e-mails become interactions in their threads, once"
        pool = Pool()
        Attachment = pool.get('ir.attachment')
        Interaction = pool.get('prm.interaction')
        company, bob, alice = self.setup()
        data = mbox(
            mail(3, references=[1, 2], date="Thu, 4 Jul 2024 10:00:00 +0200"),
            mail(1, attachments=[('plan.pdf', b'%PDF')]),
            mail(2, from_="alice@company.example",
                to="x@y.example, BOB@customer.example", references=[1],
                date="Wed, 3 Jul 2024 10:00:00 +0200"),
            mail(1), mail(9, from_="who@unknown.example"))
        with set_company(company):
            self.assertEqual(self.run_wizard(company, data), {
                    'interactions': 3,
                    'duplicates': 1,
                    'ignored': "who@unknown.example - Offer 9",
                    })
            first, second, third = Interaction.search(
                [], order=[('date', 'ASC')])
            for interaction in [first, second, third]:
                self.assertEqual(interaction.party, bob)
                self.assertEqual(
                    interaction.contact.value, 'bob@customer.example')
                self.assertEqual(interaction.employee, alice)
                self.assertEqual(interaction.state, 'done')
                self.assertEqual(interaction.channel.kind, 'email')
            self.assertEqual(
                [i.direction for i in [first, second, third]],
                ['in', 'out', 'in'])
            self.assertEqual(first.body, "Hello")
            self.assertEqual(
                [i.previous for i in [first, second, third]],
                [None, first, second])
            attachment, = Attachment.search([])
            self.assertEqual(attachment.resource, first)
            self.assertEqual(bytes(attachment.data), b'%PDF')

            self.assertEqual(
                self.run_wizard(company, data, party=bob), {
                    'interactions': 1, 'duplicates': 4, 'ignored': None})
            # An answer to the first one follows the thread, not a plan
            planned, = create_interactions(
                {'party': bob.id, 'previous': third.id})
            self.run_wizard(company, mail(4, references=[1]))
            fourth, = Interaction.search(
                [('message_identifier', '=', '<4@customer.example>')])
            self.assertEqual(fourth.previous, None)
            # What refers to each other makes no circle
            self.run_wizard(company, mbox(
                    mail(5, references=[6]), mail(6, references=[5])))
            self.assertEqual(
                Interaction.search([
                        ('message_identifier', 'in', [
                                '<5@customer.example>',
                                '<6@customer.example>']),
                        ('previous', '!=', None)], count=True), 1)

    @with_transaction()
    def test_invalid(self):
        "The file that is not valid is named and nothing is imported"
        Interaction = Pool().get('prm.interaction')
        company, _, _ = self.setup()
        with set_company(company):
            with self.assertRaisesRegex(
                    InteractionImportError,
                    'You cannot import the file "box.mbox" because its '
                    'message 2 is not a valid e-mail or event. Export it '
                    'again or remove it from the file.'):
                self.run_wizard(
                    company, mbox(mail(), b'Subject: Nobody\n\n'),
                    filename='box.mbox')
            self.assertEqual(Interaction.search([], count=True), 0)

    @with_transaction()
    def test_calendar(self):
        "Coming events are planned, those over are done"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company, bob, alice = self.setup()
        year = dt.date.today().year
        people = [
            'ORGANIZER:mailto:alice@company.example',
            'ATTENDEE;CN=Bob:MAILTO:Bob@customer.example',
            'ATTENDEE:mailto:other@unknown.example']
        with set_company(company):
            own, = create_interactions({'party': bob.id})
            event = own.calendar_event().to_ical().decode().split('\r\n')
            data = calendar(
                ['UID:1', f'DTSTART:{year + 1}0702T080000Z', 'SUMMARY:Plan',
                    *people],
                ['UID:2', f'DTSTART:{year - 1}0702T080000Z', *people],
                ['UID:3', f'DTSTART:{year - 1}0702T080000Z', 'SUMMARY:Week',
                    'RRULE:FREQ=WEEKLY', *people],
                event[1:-2])
            self.assertEqual(
                self.run_wizard(company, data, filename='c.ics'), {
                    'interactions': 2,
                    'duplicates': 1,
                    'ignored': "alice@company.example - Week",
                    })
            plan, done = Interaction.search([
                    ('message_identifier', '!=', None)])
            self.assertEqual(
                [i.state for i in [plan, done]], ['planned', 'done'])
            self.assertEqual(plan.party, bob)
            self.assertEqual(plan.employee, alice)
            self.assertEqual(plan.channel.kind, 'meeting')
            self.assertEqual(plan.direction, 'out')
            self.assertEqual(plan.date, dt.datetime(year + 1, 7, 2, 8))

    @with_transaction()
    def test_statements(self):
        "The number of statements does not depend on the messages"
        company, _, _ = self.setup()
        counts = []
        with set_company(company):
            for start, count in [(0, 2), (100, 20)]:
                data = mbox(*[
                        mail(start + i, references=[start]if i else None)
                        for i in range(count)])
                with count_statements() as statements:
                    self.run_wizard(company, data)
                counts.append(len([
                            s for s in statements
                            if not s.startswith(('INSERT', 'UPDATE'))]))
        self.assertLessEqual(counts[1], counts[0] + 4)
