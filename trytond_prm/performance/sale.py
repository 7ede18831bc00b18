# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Null, Union
from sql.conditionals import Case, Coalesce

from trytond.pool import Pool, PoolMeta

from ..tools import sql_reference


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


class PlanAction(metaclass=PoolMeta):
    __name__ = 'prm.plan.action'

    @classmethod
    def sale_queries(cls, actions):
        """Return the SQL queries of the sales that the actions have brought

        The columns are action and sale; a sale has one row at most.
        """
        return []

    @classmethod
    def revenue_query(cls, actions):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        InvoiceLine = pool.get('account.invoice.line')
        Performance = pool.get('prm.performance')
        SaleLine = pool.get('sale.line')
        revenue = super().revenue_query(actions)
        if not cls.sale_queries(actions):
            return revenue
        invoice = Invoice.__table__()
        line = InvoiceLine.__table__()
        credit = InvoiceLine.__table__()
        sale_line = SaleLine.__table__()

        def sold():
            sales = Union(*cls.sale_queries(actions), all_=True)
            return (sales
                .join(sale_line, condition=sale_line.sale == sales.sale)
                .join(line,
                    condition=line.origin == sql_reference(
                        'sale.line', sale_line.id))
                .select(
                    sales.action.as_('action'),
                    line.invoice.as_('invoice'),
                    line.id.as_('line')))

        credited = sold()
        # The origin of a line of a credit note is the credited line.
        invoiced = Union(
            sold(),
            credited
            .join(credit,
                condition=credit.origin == sql_reference(
                    'account.invoice.line', credited.line))
            .select(credited.action, credit.invoice, credit.id),
            all_=True)
        lines = Performance.actual_query()
        return Union(
            revenue,
            invoiced
            .join(lines,
                condition=(lines.invoice == invoiced.invoice)
                & (lines.line == invoiced.line))
            .join(invoice, condition=lines.invoice == invoice.id)
            .select(
                invoiced.action.as_('action'),
                lines.amount.as_('amount'),
                where=invoice.plan_action == Null),
            all_=True)
