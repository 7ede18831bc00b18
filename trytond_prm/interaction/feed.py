# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import secrets
import urllib.parse

import icalendar

from trytond.i18n import gettext
from trytond.model import ModelSQL, ModelView, Unique, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval
from trytond.tools import timezone as tz
from trytond.transaction import Transaction, check_access
from trytond.url import http_host

from .exceptions import FeedEmployeeError

# How long what is over stays in the calendar
_PAST = dt.timedelta(days=366)


class InteractionFeed(ModelSQL, ModelView):
    "Give the calendar of an employee to whoever knows its key"
    __name__ = 'prm.interaction.feed'
    __string__ = "Calendar Feed"

    user = fields.Many2One(
        'res.user', "User", required=True, readonly=True, ondelete='CASCADE')
    employee = fields.Many2One(
        'company.employee', "Employee", required=True, ondelete='CASCADE',
        states={
            'readonly': Eval('id', -1) >= 0,
            },
        help="The employee whose interactions are in the calendar.")
    key = fields.Char("Key", readonly=True)
    url = fields.Function(fields.Char(
            "URL",
            help="The address to which a calendar subscribes.\n"
            "Whoever knows it reads the calendar."),
        'on_change_with_url')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_constraints += [
            ('key_unique', Unique(t, t.key),
                'prm.msg_interaction_feed_key_unique'),
            ('employee_unique', Unique(t, t.user, t.employee),
                'prm.msg_interaction_feed_employee_unique'),
            ]
        cls._buttons.update({
                'renew_key': {
                    'icon': 'tryton-refresh',
                    },
                'revoke': {
                    'invisible': ~Bool(Eval('key')),
                    'icon': 'tryton-cancel',
                    'depends': ['key'],
                    },
                })

    @classmethod
    def default_user(cls):
        return Transaction().user or None

    @classmethod
    def default_employee(cls):
        return Transaction().context.get('employee')

    @fields.depends('key')
    def on_change_with_url(self, name=None):
        if self.key:
            return http_host() + urllib.parse.quote(
                '/%s/prm/interaction/feed/%s.ics' % (
                    Transaction().database.name, self.key))

    def get_rec_name(self, name):
        return self.employee.rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('employee.rec_name', *clause[1:])]

    @classmethod
    def _new_key(cls):
        return secrets.token_urlsafe(32)

    @classmethod
    def preprocess_values(cls, mode, values):
        values = super().preprocess_values(mode, values)
        if mode == 'create':
            values['key'] = cls._new_key()
        return values

    @classmethod
    def validate_fields(cls, feeds, field_names):
        super().validate_fields(feeds, field_names)
        cls.check_employee(feeds, field_names)

    @classmethod
    def check_employee(cls, feeds, field_names=None):
        "Check that the employees are those of the users"
        if field_names and not {'user', 'employee'} & field_names:
            return
        for feed in feeds:
            if feed.employee not in feed.user.employees:
                raise FeedEmployeeError(gettext(
                        'prm.msg_interaction_feed_employee',
                        employee=feed.employee.rec_name,
                        user=feed.user.rec_name))

    @classmethod
    def copy(cls, feeds, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('key', None)
        return super().copy(feeds, default=default)

    @classmethod
    @ModelView.button
    def renew_key(cls, feeds):
        for feed in feeds:
            feed.key = cls._new_key()
        cls.save(feeds)

    @classmethod
    @ModelView.button
    def revoke(cls, feeds):
        cls.write(feeds, {'key': None})

    @classmethod
    def get_by_key(cls, key):
        """Return the feed of the key or None

        There is none any more when its user is deactivated, has no longer
        access to the interactions or is no longer the employee.
        """
        pool = Pool()
        Access = pool.get('ir.model.access')
        if not key:
            return
        try:
            feed, = cls.search([('key', '=', key)])
        except ValueError:
            return
        user = feed.user
        if not user.active or feed.employee not in user.employees:
            return
        with Transaction().set_user(user.id), check_access():
            if not Access.check(
                    'prm.interaction', 'read', raise_exception=False):
                return
        return feed

    def _domain(self):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        return [
            ('company', '=', self.employee.company.id),
            ('employee', '=', self.employee.id),
            ('state', 'in', ['planned', 'done']),
            ('date', '>=', Interaction.default_date() - _PAST),
            ]

    def calendar(self):
        """Return the iCalendar of the interactions of the employee

        They are those planned and those done in the last year, in UTC.
        """
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        User = pool.get('res.user')
        with Transaction().set_user(self.user.id):
            language = User.get_preferences(context_only=True).get('language')
        calendar = icalendar.Calendar()
        calendar.add('prodid', '-//Tryton//prm//EN')
        calendar.add('version', '2.0')
        calendar.add('x-wr-calname', self.employee.rec_name)
        with Transaction().set_context(
                language=language, company=self.employee.company.id):
            for interaction in Interaction.search(
                    self._domain(), order=[('date', 'ASC'), ('id', 'ASC')]):
                calendar.add_component(interaction.calendar_event())
        return calendar.to_ical()


class Interaction(metaclass=PoolMeta):
    __name__ = 'prm.interaction'

    def calendar_event(self):
        """Return the iCalendar event of the interaction

        It keeps its UID as long as it is in the database. What is private
        only tells its channel.
        """
        database = Transaction().database.name
        modified = (self.write_date or self.create_date).replace(
            microsecond=0, tzinfo=tz.UTC)
        event = icalendar.Event()
        event.add('uid', f'prm.interaction-{self.id}@{database}')
        event.add('dtstamp', modified)
        event.add('last-modified', modified)
        start = self.date.replace(tzinfo=tz.UTC)
        event.add('dtstart', start)
        if self.duration:
            event.add('dtend', start + self.duration)
        summary = self.channel.rec_name if self.private else self.rec_name
        event.add('summary', summary)
        event.add('status', 'CONFIRMED')
        event.add('categories', [self.channel.rec_name])
        if self.private:
            event.add('class', 'PRIVATE')
        else:
            description = filter(None, [
                    self.contact and self.contact.rec_name,
                    self.body])
            if description := '\n\n'.join(description):
                event.add('description', description)
        if self.state == 'planned':
            for reminder in self.reminders:
                alarm = icalendar.Alarm()
                alarm.add('action', 'DISPLAY')
                alarm.add('description', summary)
                alarm.add('trigger', -reminder.before)
                event.add_component(alarm)
        return event
