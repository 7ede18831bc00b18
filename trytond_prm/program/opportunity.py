# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql.aggregate import Count
from sql.conditionals import Case

from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts


class ProgramTierCriterion(metaclass=PoolMeta):
    __name__ = 'prm.program.tier.criterion'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.metric.selection.append(('won_deals', "Won Deals"))

    @classmethod
    def _measure_won_deals(cls, partners, starts, date):
        "The opportunities of the party that were won, by their end date"
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        Partner = pool.get('prm.partner')
        cursor = Transaction().connection.cursor()
        opportunity = Opportunity.__table__()
        partner = Partner.__table__()
        values = {p.id: [0] * len(starts) for p in partners}
        for sub_partners in grouped_slice(partners, _SIZE):
            cursor.execute(*partner
                .join(opportunity,
                    condition=(opportunity.party == partner.party)
                    & (opportunity.company == partner.company))
                .select(
                    partner.id,
                    *(Count(Case((
                                    opportunity.end_date >= start,
                                    opportunity.id)))
                        for start in starts),
                    where=_in(partner.id, list(map(int, sub_partners)))
                    & (opportunity.state == 'won')
                    & (opportunity.end_date >= min(starts))
                    & (opportunity.end_date <= date),
                    group_by=partner.id))
            for id_, *counts in cursor:
                values[id_] = counts
        return values
