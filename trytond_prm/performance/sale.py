# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Null
from sql.conditionals import Case, Coalesce

from trytond.pool import Pool, PoolMeta


class Performance(metaclass=PoolMeta):
    __name__ = 'prm.performance'

    @classmethod
    def _seller_companies(cls):
        pool = Pool()
        Configuration = pool.get('prm.configuration.performance')
        return Configuration.get_sale_companies()

    @classmethod
    def _seller_query(cls, lines, *names):
        pool = Pool()
        InvoiceLine = pool.get('account.invoice.line')
        Sale = pool.get('sale.sale')
        SaleLine = pool.get('sale.line')
        companies = cls._seller_companies()
        if not companies:
            return super()._seller_query(lines, *names)
        line = InvoiceLine.__table__()
        credited = InvoiceLine.__table__()
        sale = Sale.__table__()
        sale_line = SaleLine.__table__()
        origin = Case(
            (credited.id != Null, credited.origin), else_=line.origin)
        return (lines
            .join(line, 'LEFT', condition=lines.line == line.id)
            # The origin of a line of a credit note is the credited line.
            .join(credited, 'LEFT',
                condition=line.origin.like('account.invoice.line,%')
                & (InvoiceLine.origin.sql_id(line.origin, InvoiceLine)
                    == credited.id))
            .join(sale_line, 'LEFT',
                condition=origin.like('sale.line,%')
                & (InvoiceLine.origin.sql_id(origin, InvoiceLine)
                    == sale_line.id))
            .join(sale, 'LEFT', condition=sale_line.sale == sale.id)
            .select(
                lines.company.as_('company'),
                lines.party.as_('party'),
                Case(
                    (lines.company.in_(companies),
                        Coalesce(sale.quoted_by, sale.confirmed_by)),
                    else_=Null).as_('seller'),
                lines.date.as_('date'),
                lines.amount.as_('amount'),
                *(getattr(lines, name).as_(name) for name in names)))
