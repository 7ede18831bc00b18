# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from trytond.model import Check, DeactivableMixin, ModelSQL, ModelView, fields
from trytond.pool import PoolMeta
from trytond.pyson import Eval
from trytond.tools import timezone as tz

from ..tools import company_timezone

_next_states = {
    'invisible': ~Eval('follow_up'),
    }


class InteractionType(DeactivableMixin, ModelSQL, ModelView):
    "What an interaction is for and which one follows it up"
    __name__ = 'prm.interaction.type'
    __string__ = "Interaction Type"

    name = fields.Char("Name", required=True, translate=True)
    follow_up = fields.Boolean(
        "Follow Up",
        help="Check to plan the next interaction when one of this type is "
        "done.")
    next_days = fields.Integer(
        "Next Days",
        domain=[
            ('next_days', '>=', 0),
            ],
        states={
            'invisible': _next_states['invisible'],
            'required': Eval('follow_up', False),
            },
        help="How many days after the interaction the next one is planned.")
    next_channel = fields.Many2One(
        'prm.channel', "Next Channel", ondelete='RESTRICT',
        states=_next_states,
        help="Leave empty for the channel of the interaction.")
    next_subject = fields.Char(
        "Next Subject", translate=True, states=_next_states,
        help="Leave empty for the subject of the interaction.")
    next_type = fields.Many2One(
        'prm.interaction.type', "Next Type", ondelete='RESTRICT',
        states=_next_states,
        help="The type of the next interaction, which may be followed up "
        "in turn.\n"
        "Leave empty to end the chain.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._order.insert(0, ('name', 'ASC'))
        cls._sql_constraints += [
            ('next_days_positive', Check(t, t.next_days >= 0),
                'prm.msg_interaction_type_next_days'),
            ]

    @classmethod
    def default_follow_up(cls):
        return False

    @classmethod
    def default_next_days(cls):
        return 7

    def next_values(self, interaction):
        """Return the values of the interaction that follows this one up

        It is planned at the same time of the day of the company.
        """
        zone = company_timezone(interaction.company)
        date = interaction.date.replace(tzinfo=tz.UTC).astimezone(zone)
        date = ((date.replace(tzinfo=None) + dt.timedelta(self.next_days))
            .replace(tzinfo=zone).astimezone(tz.UTC).replace(tzinfo=None))
        values = {
            'date': date,
            'type': self.next_type.id if self.next_type else None,
            }
        if self.next_channel:
            values['channel'] = self.next_channel.id
            if self.next_channel != interaction.channel:
                values['contact'] = None
        if self.next_subject:
            values['subject'] = self.next_subject
        return values


class Interaction(metaclass=PoolMeta):
    __name__ = 'prm.interaction'

    type = fields.Many2One(
        'prm.interaction.type', "Type", ondelete='RESTRICT',
        states={
            'readonly': Eval('state') != 'planned',
            },
        help="It tells which interaction follows this one up.")

    def follow_up_values(self):
        values = super().follow_up_values()
        if self.type and self.type.follow_up:
            values.update(self.type.next_values(self))
        return values

    def _opens_next(self):
        "Return whether the next interaction is planned when this one is done"
        return (
            self.type and self.type.follow_up and not self.next
            and not (self.partner and self.partner.state == 'ended'))

    @classmethod
    @ModelView.button
    def do(cls, interactions):
        planned = [i.id for i in interactions if i.state == 'planned']
        super().do(interactions)
        # The date has changed when it was done before
        cls.create([
                i.follow_up_values() for i in cls.browse(planned)
                if i._opens_next()])
