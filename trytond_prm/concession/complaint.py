# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice

from .exceptions import ConcessionValidationError

_SIZE = 1000  # records of one statement


class Complaint(metaclass=PoolMeta):
    __name__ = 'sale.complaint'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'propose_concession': {
                    'invisible': Eval('state').in_(['draft', 'cancelled']),
                    'icon': 'tryton-create',
                    'depends': ['state'],
                    },
                })

    @classmethod
    @ModelView.button_action('prm.act_concession_complaint')
    def propose_concession(cls, complaints):
        pass

    def get_complained_invoice(self):
        "Return the invoice that is complained about or None"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        InvoiceLine = pool.get('account.invoice.line')
        if isinstance(self.origin, Invoice):
            return self.origin
        elif isinstance(self.origin, InvoiceLine):
            return self.origin.invoice

    def get_credit_note(self):
        "Return a credit note of the complaint that is not yet a gesture"
        pool = Pool()
        Concession = pool.get('prm.concession')
        Invoice = pool.get('account.invoice')
        notes = [
            a.result for a in self.actions
            if isinstance(a.result, Invoice) and a.result.state != 'cancelled'
            and a.result.untaxed_amount < 0]
        taken = {
            c.credit_note for c in Concession.search([
                    ('credit_note', 'in', [n.id for n in notes]),
                    ('state', 'not in', ['rejected', 'cancelled']),
                    ], order=[])}
        for note in notes:
            if note not in taken:
                return note


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    complaint = fields.Many2One(
        'sale.complaint', "Complaint", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            If((Eval('id', -1) < 0) & Bool(Eval('party')),
                ('customer', '=', Eval('party', -1)),
                ()),
            ],
        states={
            'readonly': Eval('state') != 'draft',
            },
        help="The complaint that led to the gesture.")

    @fields.depends(
        'complaint', 'company', 'party', 'invoice', 'credit_note',
        'initiative', '_parent_complaint.customer',
        '_parent_complaint.company',
        methods=['on_change_party', 'on_change_invoice',
            'on_change_credit_note'])
    def on_change_complaint(self):
        pool = Pool()
        Complaint = pool.get('sale.complaint')
        if not self.complaint:
            return
        complaint = Complaint(self.complaint.id)
        self.initiative = 'customer'
        self.company = complaint.company
        if not self.party:
            self.party = complaint.customer
            self.on_change_party()
        invoice = complaint.get_complained_invoice()
        if not self.invoice and invoice:
            self.invoice = invoice
            self.on_change_invoice()
        if not self.credit_note and (note := complaint.get_credit_note()):
            self.credit_note = note
            self.on_change_credit_note()

    @classmethod
    def _protected_fields(cls):
        return super()._protected_fields() | {'complaint'}

    @classmethod
    def check_party(cls, concessions, field_names=None):
        super().check_party(concessions, field_names)
        if field_names and not (field_names & {'party', 'complaint'}):
            return
        for concession in concessions:
            complaint = concession.complaint
            if complaint and complaint.customer != concession.party:
                raise ConcessionValidationError(gettext(
                        'prm.msg_concession_party',
                        concession=concession.rec_name,
                        record=complaint.rec_name,
                        party=complaint.customer.rec_name,
                        **cls.__names__('complaint')))


class Invoice(metaclass=PoolMeta):
    __name__ = 'account.invoice'

    @classmethod
    def _get_credited(cls, invoices):
        pool = Pool()
        Complaint = pool.get('sale.complaint')
        credited = super()._get_credited(invoices)
        for invoice in invoices:
            for line in invoice.line_lines:
                if isinstance(line.origin, Complaint):
                    if origin := line.origin.get_complained_invoice():
                        credited.add((invoice, origin))
        return credited

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
