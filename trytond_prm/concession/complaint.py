# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import Pool, PoolMeta
from trytond.tools import grouped_slice

_SIZE = 1000  # records of one statement


class Invoice(metaclass=PoolMeta):
    __name__ = 'account.invoice'

    @classmethod
    def _get_loose_credit_lines(cls, invoices):
        pool = Pool()
        Complaint = pool.get('sale.complaint')
        InvoiceLine = pool.get('account.invoice.line')
        credits = super()._get_loose_credit_lines(invoices)
        complaints = {}
        for sub_invoices in grouped_slice(invoices, _SIZE):
            sub_invoices = list(sub_invoices)
            lines = {
                str(l): i for i in sub_invoices for l in i.line_lines}
            origins = {str(i): i for i in sub_invoices} | lines
            for complaint in Complaint.search([
                        ('origin', 'in', list(origins)),
                        ], order=[]):
                complaints[complaint] = origins[str(complaint.origin)]
        for sub_complaints in grouped_slice(list(complaints), _SIZE):
            for line in InvoiceLine.search([
                        ('origin', 'in', list(map(str, sub_complaints))),
                        ('type', '=', 'line'),
                        ('invoice.state', '!=', 'cancelled'),
                        ], order=[]):
                credits.append((complaints[line.origin], line))
        return credits
