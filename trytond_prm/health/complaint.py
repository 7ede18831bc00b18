# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from sql.aggregate import Count

from trytond.pool import Pool, PoolMeta


class HealthMetric(metaclass=PoolMeta):
    __name__ = 'prm.health.metric'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.kind.selection.append(('complaints', "Number of Complaints"))

    @classmethod
    def _scales(cls):
        return {
            **super()._scales(),
            'complaints': (Decimal(3), Decimal(0)),
            }

    def _measure_complaints(self, partners, date):
        pool = Pool()
        Complaint = pool.get('sale.complaint')
        start, _ = self._periods(date)

        def query(partner):
            complaint = Complaint.__table__()
            return (partner
                .join(complaint,
                    condition=(complaint.customer == partner.party)
                    & (complaint.company == partner.company))
                .select(
                    partner.id, Count(complaint.id),
                    where=(complaint.date >= start)
                    & (complaint.date <= date)
                    & (complaint.state != 'cancelled'),
                    group_by=partner.id))
        return self._amounts(partners, query)
