# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from email.message import EmailMessage

import trytond.config as config
from trytond.i18n import gettext
from trytond.model import ModelSQL, ModelView, Unique, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval
from trytond.sendmail import send_message_transactional
from trytond.tools import timezone as tz
from trytond.tools.email_ import format_address, set_from_header
from trytond.transaction import Transaction

from ..tools import company_timezone

# The longest time before an interaction that can be reminded
_MAX_BEFORE = dt.timedelta(days=366)


class InteractionReminder(ModelSQL, ModelView):
    "Remind the employee of a planned interaction, once"
    __name__ = 'prm.interaction.reminder'
    __string__ = "Interaction Reminder"

    interaction = fields.Many2One(
        'prm.interaction', "Interaction", required=True, ondelete='CASCADE')
    before = fields.TimeDelta(
        "Before", required=True,
        domain=[
            ('before', '>=', dt.timedelta()),
            ('before', '<=', _MAX_BEFORE),
            ],
        states={
            'readonly': Bool(Eval('sent')),
            },
        help="How long before the interaction the employee is reminded.")
    sent = fields.DateTime("Sent", readonly=True)

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('interaction')
        t = cls.__table__()
        cls._order = [
            ('interaction', 'ASC'),
            ('before', 'DESC'),
            ('id', 'ASC'),
            ]
        cls._sql_constraints += [
            ('before_unique', Unique(t, t.interaction, t.before),
                'prm.msg_interaction_reminder_unique'),
            ]

    @classmethod
    def copy(cls, reminders, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('sent', None)
        return super().copy(reminders, default=default)

    @classmethod
    def send(cls):
        """Send the reminders that are due by notification and e-mail

        They are those of the planned interactions of the company of the
        context. What was sent is marked, so each is sent once.
        """
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        now = Interaction.default_date()
        domain = [
            ('sent', '=', None),
            ('interaction.state', '=', 'planned'),
            ('interaction.employee', '!=', None),
            ('interaction.date', '<=', now + _MAX_BEFORE),
            ]
        company = Transaction().context.get('company')
        if company is not None:
            domain.append(('interaction.company', '=', company))
        reminders = [
            r for r in cls.search(domain)
            if r.interaction.date - r.before <= now]
        if not reminders:
            return
        cls.write(reminders, {'sent': now})
        interactions = defaultdict(set)
        for reminder in reminders:
            interactions[reminder.interaction.employee].add(
                reminder.interaction)
        cls._notify(interactions)
        for employee, to_remind in interactions.items():
            for interaction in sorted(to_remind, key=lambda i: i.date):
                if message := interaction.reminder_email():
                    send_message_transactional(message)

    @classmethod
    def _notify(cls, interactions):
        "Notify the users of each employee of the interactions"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        User = pool.get('res.user')
        for user in User.search([
                    ('employees', 'in', [e.id for e in interactions]),
                    ]):
            records = sorted(
                set().union(*(
                        interactions.get(e, set()) for e in user.employees)),
                key=lambda i: i.date)
            Interaction.notify_user(
                records, 'tryton-notification',
                gettext('prm.msg_interaction_reminder'),
                '; '.join(i.rec_name for i in records),
                user=user)


class Interaction(metaclass=PoolMeta):
    __name__ = 'prm.interaction'

    reminders = fields.One2Many(
        'prm.interaction.reminder', 'interaction', "Reminders",
        states={
            'readonly': Eval('state') != 'planned',
            })

    @classmethod
    def copy(cls, interactions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('reminders', None)
        return super().copy(interactions, default=default)

    def reminder_email(self):
        "Return the e-mail to the employee or None without address"
        pool = Pool()
        Lang = pool.get('ir.lang')
        party = self.employee.party
        if not party.email:
            return
        language = party.lang.code if party.lang else None
        date = (self.date.replace(tzinfo=tz.UTC)
            .astimezone(company_timezone(self.company)))
        message = EmailMessage()
        from_ = config.get('email', 'from')
        set_from_header(message, from_, from_)
        message['To'] = format_address(party.email, party.name)
        message['Subject'] = gettext(
            'prm.msg_interaction_reminder_subject', language,
            interaction=self.rec_name)
        message.set_content(gettext(
                'prm.msg_interaction_reminder_body', language,
                interaction=self.rec_name,
                date=Lang.get(language).strftime(date, '%x %H:%M'),
                channel=self.channel.rec_name))
        return message
