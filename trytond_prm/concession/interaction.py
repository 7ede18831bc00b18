# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval
from trytond.tools import timezone as tz

from ..tools import company_timezone

# The hour of the day of a follow-up, where the company is
_HOUR = dt.time(9)


class Interaction(metaclass=PoolMeta):
    __name__ = 'prm.interaction'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'propose_concession': {
                    'invisible': (
                        (Eval('state') == 'cancelled')
                        | (Eval('population') == 'staff')
                        | Eval('private', False)),
                    'icon': 'tryton-create',
                    'depends': ['state', 'population', 'private'],
                    },
                })

    @classmethod
    @ModelView.button_action('prm.act_concession_interaction')
    def propose_concession(cls, interactions):
        pass


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    _states = {
        'readonly': ~Eval('state').in_(['draft', 'submitted', 'approved']),
        }
    follow_up_date = fields.Date(
        "Follow-Up Date", states=_states,
        help="When to ask the customer what he thinks of the gesture.\n"
        "Leave empty to plan nothing.")
    follow_up_channel = fields.Many2One(
        'prm.channel', "Follow-Up Channel", ondelete='RESTRICT',
        states={
            'readonly': _states['readonly'],
            'required': Bool(Eval('follow_up_date')),
            'invisible': ~Eval('follow_up_date'),
            })
    follow_up = fields.Many2One(
        'prm.interaction', "Follow-Up", readonly=True, ondelete='SET NULL',
        states={
            'invisible': ~Eval('follow_up'),
            },
        help="The interaction that the gesture has planned.")
    del _states

    @fields.depends(
        'interaction', 'company', 'party', 'partner', 'initiative', 'date',
        'follow_up_date', 'follow_up_channel',
        '_parent_interaction.company', '_parent_interaction.party',
        '_parent_interaction.partner', '_parent_interaction.direction',
        '_parent_interaction.channel',
        methods=['on_change_company', 'on_change_party',
            'on_change_follow_up_date'])
    def on_change_interaction(self):
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        if not self.interaction:
            return
        if self.interaction.company != self.company:
            self.company = self.interaction.company
            self.on_change_company()
        if not self.party and self.interaction.party:
            self.party = self.interaction.party
            self.partner = self.interaction.partner
            self.on_change_party()
        if self.interaction.direction == 'in':
            self.initiative = 'customer'
        if not self.follow_up_date and self.date and self.company:
            delay = Configuration(1).get_multivalue(
                'concession_follow_up', company=self.company.id)
            if delay is not None:
                self.follow_up_date = self.date + delay
        self.on_change_follow_up_date()

    @fields.depends(
        'follow_up_date', 'follow_up_channel', 'interaction',
        '_parent_interaction.channel')
    def on_change_follow_up_date(self):
        if not self.follow_up_date or self.follow_up_channel:
            return
        if self.interaction:
            self.follow_up_channel = self.interaction.channel
        else:
            self.follow_up_channel = self._default_follow_up_channel()

    @classmethod
    def _default_follow_up_channel(cls):
        pool = Pool()
        Channel = pool.get('prm.channel')
        channels = Channel.search([('kind', '=', 'phone')], limit=1)
        return channels[0] if channels else None

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | {'follow_up'}

    @classmethod
    def copy(cls, concessions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('follow_up_date', None)
        default.setdefault('follow_up_channel', None)
        default.setdefault('follow_up', None)
        return super().copy(concessions, default=default)

    @classmethod
    @ModelView.button
    def grant(cls, concessions):
        super().grant(concessions)
        cls._plan_follow_up([
                c for c in cls.browse(concessions)
                if c.state == 'granted' and c.follow_up_date
                and not c.follow_up])

    @classmethod
    def _plan_follow_up(cls, concessions):
        "Plan the interactions that follow the gestures up"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        if not concessions:
            return
        followed, to_create = set(), []
        for concession in concessions:
            values = concession._follow_up_values()
            previous = concession.interaction
            if previous and not previous.next and previous not in followed:
                followed.add(previous)
                values['previous'] = previous.id
            to_create.append(values)
        interactions = Interaction.create(to_create)
        for concession, interaction in zip(concessions, interactions):
            concession.follow_up = interaction
        cls.save(concessions)

    def _follow_up_values(self):
        "Return the values of the interaction that follows the gesture up"
        date = (
            dt.datetime.combine(self.follow_up_date, _HOUR)
            .replace(tzinfo=company_timezone(self.company))
            .astimezone(tz.UTC).replace(tzinfo=None))
        employee = (
            self.interaction and self.interaction.employee
            or self.submitted_by or self.granted_by)
        channel = self.follow_up_channel or self._default_follow_up_channel()
        return {
            'company': self.company.id,
            'population': 'partner' if self.partner else 'customer',
            'party': self.party.id,
            'partner': self.partner.id if self.partner else None,
            'employee': employee.id if employee else None,
            'channel': channel.id if channel else None,
            'direction': 'out',
            'date': date,
            'subject': gettext(
                'prm.msg_concession_follow_up', concession=self.number),
            'origin': str(self),
            }

    @classmethod
    def _take_back(cls, concessions):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        super()._take_back(concessions)
        Interaction.cancel([
                c.follow_up for c in concessions
                if c.follow_up and c.follow_up.state == 'planned'])
