# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import threading
import unittest
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

from trytond import backend
from trytond.i18n import gettext
from trytond.modules.company.tests import create_company, set_company
from trytond.modules.prm.trytond_prm.associate import reminder
from trytond.pool import Pool
from trytond.tests.test_tryton import DB_NAME, activate_module, drop_db
from trytond.transaction import Transaction, TransactionError

from .test_buyback import World, WorldMixin, count_own, date, with_world
from .test_share_report import as_html
from .tools import ALL_MODULES, count_statements

DAY = dt.timedelta(days=1)


def load_french():
    "Translate the module as with French activated"
    pool = Pool()
    Lang = pool.get('ir.lang')
    Translation = pool.get('ir.translation')
    language = Lang.get('fr')
    language.translatable = True
    language.save()
    locale = Path(__file__).parent.parent / 'locale'
    Translation.translation_import('fr', 'prm', [str(locale / 'fr.po')])
    return language


class BuybackReportTestCase(WorldMixin, unittest.TestCase):
    "Test the documents and the reminders of the buybacks"
    maxDiff = None

    def execute(self, name, record):
        Report = Pool().get(name, type='report')
        with as_html(Report):
            _, content, _, _ = Report.execute(
                [record.id], {'model': record.__name__})
        return content

    def assertText(self, content, *texts):
        for text in texts:
            with self.subTest(text=text):
                self.assertIn(text, content)

    @with_world
    def test_schedule(self, world):
        "The schedule has the terms and the instalments"
        duty, = Pool().get('prm.buyback.duty').create([{
                    'name': "Shares",
                    'rates': [('create', [{
                                    'start_date': date('2007-01-01'),
                                    'rate': Decimal('0.001'),
                                    }])],
                    }])
        buyback = world.create('signed', duty=duty.id)
        self.assertText(
            self.execute('prm.buyback.schedule', buyback),
            "Payment Schedule", "between Dunder Mifflin and Leaver",
            "usd48.0000", "usd48,000.00", "5.00% (30E/360)",
            "Constant Principal", "01/31/2008", "usd12,600.00",
            "usd49,500.00", "Registration Duty", "usd48.00")

    @with_world
    def test_french(self, world):
        "The documents are in the language of the associate"
        world.leaver.lang = load_french()
        world.leaver.save()
        buyback = world.create('running')
        for name, record, text in [
                ('prm.buyback.schedule', buyback, "31.01.2008"),
                ('prm.buyback.statement', buyback, "31.10.2007"),
                ('prm.buyback.payment_notice', buyback.instalments[0],
                    "31.01.2008")]:
            self.assertText(self.execute(name, record), text)

    @with_world
    def test_statement(self, world):
        "The statement has what is owed, settled and the balance"
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        world.pay(
            '2008-01-31', '12600.00', world.lines(buyback.instalments[0]))
        buyback.account_waiver = world.premium
        buyback.save()
        buyback.settle_early(date('2008-03-15'), Decimal('360.00'))
        rows = buyback.get_statements([buyback])[buyback.id]
        self.assertEqual(
            [(r.date.isoformat(), r.kind, r.instalment.sequence,
                    r.owed, r.settled, r.balance) for r in rows], [
                ('2007-10-31', 'principal', 1, 12000, 0, 12000),
                ('2007-10-31', 'principal', 2, 12000, 0, 24000),
                ('2007-10-31', 'principal', 3, 12000, 0, 36000),
                ('2007-10-31', 'principal', 4, 12000, 0, 48000),
                ('2008-01-31', 'interest', 1, 600, 0, 48600),
                ('2008-01-31', 'payment', 1, 0, 12600, 36000),
                ('2008-03-15', 'interest', 2, 225, 0, 36225),
                ('2008-03-15', 'waiver', 4, 0, 360, 35865),
                ])
        self.assertEqual(rows[-1].balance, buyback.amount_due)
        self.assertText(
            self.execute('prm.buyback.statement', buyback),
            "Statement of Account", "usd35,865.00", "usd12,600.00")

    @with_world
    def test_payment_notice(self, world):
        "The notice tells what is paid"
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        first = buyback.instalments[0]
        self.assertText(
            self.execute('prm.buyback.payment_notice', first),
            "The instalment 1 is due on 01/31/2008.")
        world.pay('2008-02-05', '12600.00', world.lines(first))
        self.assertText(
            self.execute('prm.buyback.payment_notice', first),
            "The instalment 1 was paid on 02/05/2008.", "usd12,600.00",
            "usd36,000.00")
        self.assertText(
            self.execute(
                'prm.buyback.notice',
                buyback.give_notice(date('2008-05-15'))),
            "Formal Notice", "05/15/2008",
            "Instalment 2, due on 04/30/2008: usd12,450.00")

    @with_world
    def test_email(self, world):
        "The documents are sent by e-mail to the associate"
        pool = Pool()
        Email = pool.get('ir.email')
        Lang = pool.get('ir.lang')
        Party = pool.get('party.party')
        Template = pool.get('ir.email.template')
        Party.write([world.leaver], {
                'contact_mechanisms': [('create', [{
                                'type': 'email',
                                'value': 'leaver@example.com',
                                }])],
                })
        buyback = world.create('running')
        # PostgreSQL does not take the numbers of other tests back
        number = buyback.number
        default = Template.get_default('prm.buyback', buyback.id)
        self.assertEqual(default['to'], ['Leaver <leaver@example.com>'])
        for model, record, names in [
                ('prm.buyback', buyback, [
                        f"Payment-Schedule-{number}-Leaver.pdf",
                        f"Statement-of-Account-{number}-Leaver.pdf"]),
                ('prm.buyback.instalment', buyback.instalments[0],
                    [f"Payment-Notice-{number}-Leaver-1.pdf"])]:
            templates = Template.search([('model.name', '=', model)])
            with patch(
                    'trytond.ir.email_.send_message_transactional'
                    ) as send_message:
                for template in templates:
                    values = template.get(record.id)
                    self.assertEqual(
                        values['to'], ['Leaver <leaver@example.com>'])
                    self.assertIn(buyback.number, values['subject'])
                    Email.send(
                        to=', '.join(values['to']),
                        subject=values['subject'], body=values['body'],
                        reports=values['reports'], record=[model, record.id])
            attachments = [
                a for c in send_message.call_args_list
                for a in c.args[0].iter_attachments()]
            self.assertEqual(
                sorted(a.get_filename() for a in attachments), names)
            self.assertTrue(all(
                    a.get_content().startswith(b'%PDF') for a in attachments))
        # In the language of the associate
        Party.write([world.leaver], {'lang': Lang.get('fr').id})
        with Transaction().set_context(language='fr'):
            Template.write([template], {'subject': "Avis ${record.sequence}"})
        values = Template(template.id).get(buyback.instalments[0].id)
        self.assertEqual(values['subject'], "Avis 1")

    def create_users(self, world):
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        return User.create([{
                    'name': name,
                    'login': name,
                    'email': f'{name}@example.com',
                    'companies': [('add', [world.company.id])],
                    'company': world.company.id,
                    'groups': [('add', [ModelData.get_id('prm', group)])],
                    } for name, group in [
                    ('associate', 'group_associate'),
                    ('seller', 'group_prm')]])

    def send(self, method):
        notifications = Transaction().user_notifications
        before = len(notifications)
        with patch.object(
                reminder, 'send_message_transactional') as send_message:
            method()
        return (
            [c.args[0] for c in send_message.call_args_list],
            [n.user.login for n in notifications[before:]])

    @with_world
    def test_remind(self, world):
        "The instalments are reminded once before each due date"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Configuration = pool.get('prm.configuration')
        self.create_users(world)
        today = dt.date.today()
        buyback = world.create(
            'running', signature_date=today, announcement_date=today,
            period_months=1, interest_rate=None)
        first = buyback.instalments[0]
        self.assertEqual(self.send(Buyback.remind_due), ([], []))

        configuration = Configuration(1)
        configuration.buyback_remind_days = (first.due_date - today).days
        configuration.save()
        (message,), users = self.send(Buyback.remind_due)
        self.assertEqual(users, ['admin', 'associate'])
        self.assertEqual(message['To'], 'associate <associate@example.com>')
        self.assertEqual(message['Subject'], "Buyback instalments to pay")
        self.assertEqual(
            message.get_content().strip(),
            f'{first.rec_name}: usd12000.00 due on '
            f'{first.due_date:%m/%d/%Y}')
        self.assertEqual(self.send(Buyback.remind_due), ([], []))

        # A new due date is reminded again, of what remains
        later = first.due_date - DAY
        if later > today:
            buyback.amend(today, {first: later})
            world.pay(today.isoformat(), '5000.00')
            (message,), _ = self.send(Buyback.remind_due)
            self.assertIn('usd7000.00', message.get_content())
        self.assertEqual(self.send(Buyback.alert_overdue), ([], []))

    @with_world
    def test_remind_language(self, world):
        "Each user is reminded in his language"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        User = pool.get('res.user')
        french = load_french()
        user, *_ = self.create_users(world)
        User.write([user], {'language': french.id})
        world.create('running', interest_rate=None)
        (message,), _ = self.send(Buyback.alert_overdue)
        subject = gettext('prm.msg_buyback_alert', 'fr')
        self.assertNotEqual(subject, gettext('prm.msg_buyback_alert', 'en'))
        self.assertEqual(message['Subject'], subject)

    @with_world
    def test_alert(self, world):
        "The overdue instalments are alerted once"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Configuration = pool.get('prm.configuration')
        self.create_users(world)
        buyback = world.create('running', interest_rate=None)
        world.pay(
            '2008-01-31', '12000.00', world.lines(buyback.instalments[0]))
        configuration = Configuration(1)
        configuration.buyback_alert_days = 10 ** 5
        configuration.save()
        self.assertEqual(self.send(Buyback.alert_overdue), ([], []))
        configuration.buyback_alert_days = 1
        configuration.save()

        (message,), users = self.send(Buyback.alert_overdue)
        self.assertEqual(users, ['admin', 'associate'])
        self.assertEqual(message['Subject'], "Buyback instalments overdue")
        self.assertEqual(len(message.get_content().splitlines()), 3)
        self.assertEqual(self.send(Buyback.alert_overdue), ([], []))

        def alert(size):
            Party = pool.get('party.party')
            for _ in range(size):
                party, = Party.create([{'name': "Other"}])
                world.issue(party, 10)
                world.create('running', quantity=10, party=party.id)
            with count_statements() as statements:
                self.assertEqual(len(self.send(Buyback.alert_overdue)[0]), 1)
            return count_own(statements)

        alert(1)  # fill the caches
        self.assertLessEqual(alert(6), alert(2))


@unittest.skipIf(
    backend.name == 'sqlite', "SQLite has only one connection in memory")
class BuybackConcurrencyTestCase(unittest.TestCase):
    "Test the scheduled tasks of the buybacks with several connections"

    @classmethod
    def setUpClass(cls):
        activate_module(ALL_MODULES)
        cls.addClassCleanup(drop_db)

    def run_twice(self, company, method):
        "Run the task while another one that has run it is not committed"
        conflicts, errors = [], []
        started = threading.Event()

        def run(before=None, after=None):
            extras = {}
            while True:
                with Transaction().start(
                        DB_NAME, 1, context={'company': company},
                        **extras) as transaction:
                    Buyback = Pool().get('prm.buyback')
                    try:
                        Buyback.search([])
                        if before:
                            before()
                        getattr(Buyback, method)()
                        if after:
                            after()
                        transaction.commit()
                    except TransactionError as e:
                        transaction.rollback()
                        e.fix(extras)
                        continue
                    except backend.DatabaseOperationalError:
                        transaction.rollback()
                        conflicts.append(method)
                        continue
                return

        def run_second():
            try:
                run(before=started.set)
            except Exception as e:
                errors.append(e)

        thread = threading.Thread(target=run_second)

        def start_second():
            if not started.is_set():
                thread.start()
                self.assertTrue(started.wait(30))

        run(after=start_second)
        thread.join(60)
        self.assertFalse(thread.is_alive())
        self.assertEqual(errors, [])
        return conflicts

    def test_tasks(self):
        "The tasks do nothing twice when they run at the same time"
        extras = {}
        while True:
            with Transaction().start(DB_NAME, 1, **extras) as transaction:
                try:
                    company = create_company()
                    with set_company(company):
                        world = World(company)
                        User = Pool().get('res.user')
                        user = User(1)
                        user.email = 'admin@example.com'
                        user.companies = [company]
                        user.save()
                        buyback = world.create(
                            'running', title_transfer='effective',
                            quantity=500)
                        today = dt.date.today()
                        upcoming = world.create(
                            'running', quantity=500, interest_rate=None,
                            signature_date=today - 25 * DAY,
                            decision_date=today, opposition_end=today,
                            number_of_instalments=1, period_months=1)
                    transaction.commit()
                except TransactionError as e:
                    transaction.rollback()
                    e.fix(extras)
                    continue
            break

        with patch.object(
                reminder, 'send_message_transactional') as send_message:
            for method in [
                    'post_due_interest', 'alert_overdue', 'remind_due']:
                self.run_twice(company.id, method)
            self.assertEqual(
                [c.args[0]['Subject'] for c in send_message.call_args_list],
                ["Buyback instalments overdue", "Buyback instalments to pay"])
        with patch(
                'trytond.ir.date.Date.today', return_value=today + DAY):
            self.run_twice(company.id, 'unblock_payments')
        with Transaction().start(DB_NAME, 1):
            Buyback = Pool().get('prm.buyback')
            instalment, = Buyback(upcoming.id).instalments
            self.assertFalse(Buyback(upcoming.id).payment_blocked)
            self.assertFalse(instalment.line.payment_blocked)
            BuybackMove = Pool().get('prm.buyback-account.move')
            self.assertEqual(
                BuybackMove.search([
                        ('buyback', '=', buyback.id),
                        ('kind', '=', 'interest')], count=True), 4)
