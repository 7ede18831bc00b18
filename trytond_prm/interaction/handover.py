# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from trytond.i18n import gettext
from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval
from trytond.tools import timezone as tz

from ..tools import company_timezone

_HOUR = dt.time(9)


class PartnerHandover(metaclass=PoolMeta):
    __name__ = 'prm.partner.handover'

    def _hand_over(self, partners, employee):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        former = {p.id: p.manager for p in partners}
        super()._hand_over(partners, employee)
        if self.start.introduction_channel:
            Interaction.create([
                    self._introduction_values(
                        partner, employee, former[partner.id])
                    for partner in partners
                    if former[partner.id] != employee])

    def _introduction_values(self, partner, employee, former):
        return {
            'company': partner.company.id,
            'population': 'partner',
            'party': partner.party.id,
            'partner': partner.id,
            'employee': employee.id,
            'channel': self.start.introduction_channel.id,
            'direction': 'out',
            'date': dt.datetime.combine(
                self.start.introduction_date, _HOUR,
                tzinfo=company_timezone(partner.company)).astimezone(
                    tz.UTC).replace(tzinfo=None),
            'subject': gettext(
                'prm.msg_partner_introduction',
                employee=employee.rec_name,
                former=former.rec_name if former else '-'),
            'origin': str(partner),
            'state': 'planned',
            }


class PartnerHandoverStart(metaclass=PoolMeta):
    __name__ = 'prm.partner.handover.start'

    introduction_channel = fields.Many2One(
        'prm.channel', "Introduction",
        help="The channel on which the new manager is introduced to each "
        "partner by an interaction that is planned.\n"
        "Leave empty to plan none.")
    introduction_date = fields.Date(
        "Introduction Date",
        states={
            'required': Bool(Eval('introduction_channel')),
            'invisible': ~Eval('introduction_channel'),
            })

    @fields.depends('date', 'introduction_channel', 'introduction_date')
    def on_change_introduction_channel(self):
        if self.introduction_channel and not self.introduction_date:
            self.introduction_date = self.date
