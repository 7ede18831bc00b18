# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

import icalendar
from ical.calendar_stream import IcsCalendarStream

from trytond.model.exceptions import SQLConstraintError
from trytond.modules.company.tests import (
    create_company, create_employee, set_company)
from trytond.modules.prm.trytond_prm.interaction.exceptions import (
    FeedEmployeeError)
from trytond.pool import Pool
from trytond.protocols.wrappers import HTTPStatus
from trytond.tests.test_tryton import RouteTestCase, with_transaction
from trytond.tools import timezone as tz
from trytond.transaction import Transaction

from .test_interaction import create_interactions
from .test_partner import create_parties
from .tools import count_statements

NOW = dt.datetime.now().replace(microsecond=0)
HOUR = dt.timedelta(hours=1)
DAY = 24 * HOUR


def create_user(company, employee, name="User"):
    pool = Pool()
    Group = pool.get('res.group')
    ModelData = pool.get('ir.model.data')
    User = pool.get('res.user')
    user = User(name=name, login=name)
    user.companies = [company]
    user.company = company
    user.employees = [employee]
    user.employee = employee
    user.groups = [Group(ModelData.get_id('prm', 'group_prm'))]
    user.save()
    return user


def create_feed(company, employee, name="User"):
    Feed = Pool().get('prm.interaction.feed')
    user = create_user(company, employee, name=name)
    feed, = Feed.create([{'user': user.id, 'employee': employee.id}])
    return feed


def read_events(content):
    "Return the events of the calendar by UID"
    calendar = icalendar.Calendar.from_ical(content)
    return {str(e['UID']): e for e in calendar.walk('VEVENT')}


class FeedTestCase(RouteTestCase):
    "Test calendar feeds"
    module = 'prm'

    @classmethod
    def setUpDatabase(cls):
        company = create_company()
        with set_company(company):
            party, = create_parties(name="Customer")
            feed = create_feed(company, create_employee(company, "Alice"))
            interaction, = create_interactions({
                    'party': party.id,
                    'employee': feed.employee.id,
                    'date': NOW + DAY,
                    })
        cls.feed, cls.interaction = feed.id, interaction.id
        cls.path = '/'.join(feed.url.split('/')[3:])

    def transaction(self):
        return Transaction().start(self.db_name, 1)

    def test_route(self):
        "The feed answers to its key until it is revoked"
        client = self.client()
        response = client.get('/' + self.path)
        self.assertEqual(response.status_code, HTTPStatus.OK)
        self.assertEqual(response.mimetype, 'text/calendar')
        events = read_events(response.data)
        uid = f'prm.interaction-{self.interaction}@{self.db_name}'
        self.assertEqual(set(events), {uid})

        etag = response.headers['ETag']
        cached = client.get('/' + self.path, headers={'If-None-Match': etag})
        self.assertEqual(cached.status_code, HTTPStatus.NOT_MODIFIED)
        self.assertEqual(cached.data, b'')

        with self.transaction():
            Interaction = Pool().get('prm.interaction')
            Interaction.write(
                [Interaction(self.interaction)], {'subject': "Offer"})
        changed = client.get('/' + self.path, headers={'If-None-Match': etag})
        self.assertEqual(changed.status_code, HTTPStatus.OK)
        self.assertEqual(
            str(read_events(changed.data)[uid]['SUMMARY']),
            "Offer - Customer 0")

        with self.transaction():
            Feed = Pool().get('prm.interaction.feed')
            Feed.renew_key([Feed(self.feed)])
            path = '/'.join(Feed(self.feed).url.split('/')[3:])
        self.assertEqual(
            client.get('/' + self.path).status_code, HTTPStatus.NOT_FOUND)
        self.assertEqual(client.get('/' + path).status_code, HTTPStatus.OK)
        with self.transaction():
            Feed = Pool().get('prm.interaction.feed')
            Feed.revoke([Feed(self.feed)])
            self.assertEqual(Feed(self.feed).url, None)
        self.assertEqual(
            client.get('/' + path).status_code, HTTPStatus.NOT_FOUND)

    @with_transaction()
    def test_calendar(self):
        "The calendar has the moments, the reminders and nothing private"
        Interaction = Pool().get('prm.interaction')
        company = create_company("Calendar")
        with set_company(company):
            party, = create_parties(name="Customer")
            alice, bob = [create_employee(company, n) for n in 'AB']
            feed = create_feed(company, alice, name="Other")
            date = dt.datetime(NOW.year + 1, 7, 15, 8, 30)
            default = {
                'party': party.id, 'employee': alice.id, 'date': date}
            meeting, private, of_bob, cancelled, deleted = (
                create_interactions({
                        'subject': "Offer; first, second",
                        'body': "Über\nuns",
                        'duration': 2 * HOUR,
                        'reminders': [
                            ('create', [
                                    {'before': b} for b in [HOUR, DAY]])],
                        }, {
                        'subject': "Talk",
                        'body': "Secret",
                        'private': True,
                        }, {
                        'employee': bob.id,
                        }, {}, {}, **default))
            old, = create_interactions(
                dict(default, date=NOW - 400 * DAY))
            Interaction.cancel([cancelled])
            before = read_events(feed.calendar())
            Interaction.delete([deleted])
            events = read_events(feed.calendar())

            def uid(interaction):
                return (f'prm.interaction-{interaction.id}'
                    f'@{Transaction().database.name}')

            self.assertEqual(
                set(before), {uid(i) for i in [meeting, private, deleted]})
            self.assertEqual(
                set(events), {uid(i) for i in [meeting, private]})
            event = events[uid(meeting)]
            self.assertEqual(
                event['DTSTART'].to_ical(), b'%d0715T083000Z' % date.year)
            paris = tz.get_tzinfo('Europe/Paris')
            self.assertEqual(
                [event.decoded(n).astimezone(paris).hour
                    for n in ['DTSTART', 'DTEND']], [10, 12])
            self.assertEqual(
                str(event['SUMMARY']), "Offer; first, second - Customer 0")
            self.assertEqual(str(event['DESCRIPTION']), "Über\nuns")
            self.assertEqual(
                [a.decoded('TRIGGER') for a in event.walk('VALARM')],
                [-DAY, -HOUR])
            event = events[uid(private)]
            self.assertEqual(str(event['CLASS']), 'PRIVATE')
            self.assertEqual(str(event['SUMMARY']), "Phone")
            self.assertNotIn('DESCRIPTION', event)
            for secret in [b'Talk', b'Secret']:
                self.assertNotIn(secret, feed.calendar())

            # What another client understands of it
            client = IcsCalendarStream.calendar_from_ics(
                feed.calendar().decode())
            found = {
                e.uid: e for e in client.timeline_tz(paris).included(
                    date.replace(hour=0, tzinfo=paris),
                    date.replace(hour=23, tzinfo=paris))}
            self.assertEqual(set(found), set(events))
            event = found[uid(meeting)]
            self.assertEqual(
                [d.astimezone(paris).replace(tzinfo=None)
                    for d in [event.start, event.end]],
                [date + 2 * HOUR, date + 4 * HOUR])
            self.assertEqual(
                event.summary, "Offer; first, second - Customer 0")
            self.assertEqual(event.description, "Über\nuns")
            self.assertEqual([a.trigger for a in event.alarm], [-DAY, -HOUR])
            self.assertEqual(found[uid(private)].summary, "Phone")
            self.assertEqual(found[uid(private)].classification, 'PRIVATE')

    @with_transaction()
    def test_access(self):
        "The feed of who left is closed"
        Feed = Pool().get('prm.interaction.feed')
        company = create_company("Access")
        with set_company(company):
            alice, bob = [create_employee(company, n) for n in 'AB']
            feed = create_feed(company, alice, name="Other")
            user, key = feed.user, feed.key
            self.assertEqual(Feed.get_by_key(key), feed)
            for change, undo in [
                    ({'active': False}, {'active': True}),
                    ({'groups': [('remove', [g.id for g in user.groups])]},
                        {'groups': [('add', [g.id for g in user.groups])]}),
                    ({'employees': [('remove', [alice.id])], 'employee': None},
                        {'employees': [('add', [alice.id])]})]:
                with self.subTest(change=change):
                    user.write([user], change)
                    self.assertEqual(Feed.get_by_key(key), None)
                    user.write([user], undo)
                    self.assertEqual(Feed.get_by_key(key), feed)
            self.assertEqual(Feed.get_by_key(''), None)
            self.assertEqual(Feed.get_by_key('unknown'), None)
            with self.assertRaisesRegex(
                    FeedEmployeeError,
                    'The employee "B" is not one of the user "Other". '
                    'Choose one of yours.'):
                Feed.create([{'user': user.id, 'employee': bob.id}])
            with self.assertRaisesRegex(
                    SQLConstraintError, "only have one calendar feed"):
                Feed.create([{'user': user.id, 'employee': alice.id}])

    @with_transaction()
    def test_statements(self):
        "The number of statements does not depend on the interactions"
        company = create_company("Statements")
        with set_company(company):
            alice = create_employee(company, 'A')
            feed = create_feed(company, alice, name="Other")
            counts = []
            feed.calendar()
            for count in [2, 20]:
                create_interactions(*[{
                            'party': p.id,
                            'employee': alice.id,
                            'date': NOW + DAY,
                            'reminders': [('create', [{'before': HOUR}])],
                            } for p in create_parties(count)])
                with Transaction().set_context(_=count), \
                        count_statements() as statements:
                    feed.calendar()
                counts.append(len(statements))
            self.assertEqual(counts[0], counts[1])


del RouteTestCase
