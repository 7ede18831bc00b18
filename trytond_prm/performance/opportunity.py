# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Literal

from trytond.pool import Pool, PoolMeta

from ..tools import sql_exact
from .measure import at_date
from .target import MEASURES


class WonDealsMixin:
    __slots__ = ()

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.measure.selection += [
            m for m in MEASURES
            if m[0] == 'won_deals' and m not in cls.measure.selection]


class Target(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.target'


class PerformanceContext(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.performance.context'


class SmoothingMonth(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.smoothing'


class SmoothingContext(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.smoothing.context'


class Performance(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.performance'

    @classmethod
    def _won_deal_query(cls, start_date, end_date):
        "Return the query of the won opportunities by end date"
        pool = Pool()
        Member = pool.get('prm.team.member')
        Opportunity = pool.get('sale.opportunity')
        Partner = pool.get('prm.partner')
        member = Member.__table__()
        opportunity = Opportunity.__table__()
        partner = Partner.__table__()
        date = opportunity.end_date
        where = opportunity.state == 'won'
        if start_date:
            where &= date >= start_date
        if end_date:
            where &= date <= end_date
        # A partner may be restarted the day it ends: the last one has it.
        partner = partner.select(
            partner.id,
            where=(partner.company == opportunity.company)
            & (partner.party == opportunity.party)
            & at_date(partner, date),
            order_by=[partner.start_date.desc, partner.id.desc], limit=1)
        return (opportunity
            .join(member, 'LEFT',
                condition=(member.employee == opportunity.employee)
                & at_date(member, date))
            .select(
                opportunity.company.as_('company'),
                date.as_('date'),
                sql_exact(Literal(1)).as_('amount'),
                partner.as_('partner'),
                opportunity.employee.as_('employee'),
                member.team.as_('team'),
                where=where))
