# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql.operators import Equal

from trytond.i18n import gettext
from trytond.model import Exclude, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import Inline
from .exceptions import ConcessionGrantError, ConcessionValidationError

_SIZE = 1000  # records of one statement


class Concession(metaclass=PoolMeta):
    "A gesture whose credit note exists before"
    __name__ = 'prm.concession'

    credit_note = fields.Many2One(
        'account.invoice', "Credit Note", ondelete='RESTRICT',
        domain=[
            ('type', '=', 'out'),
            ('company', '=', Eval('company', -1)),
            If((Eval('id', -1) < 0) & Bool(Eval('party')),
                ('party', '=', Eval('party', -1)),
                ()),
            If(Eval('id', -1) < 0,
                [('untaxed_amount', '<', 0), ('state', '!=', 'cancelled')],
                ()),
            ],
        states={
            'readonly': Eval('state') != 'draft',
            'invisible': (
                ~Eval('kind').in_(['credit_note', 'refund'])
                | ((Eval('state') != 'draft') & ~Eval('credit_note'))),
            },
        help="The credit note that exists already and becomes the document "
        "of the gesture.\n"
        "Leave empty to make a new one when the gesture is granted.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_constraints.append(
            ('credit_note_exclude',
                Exclude(t, (t.credit_note, Equal),
                    where=(t.state != Inline('cancelled'))
                    & (t.state != Inline('rejected'))),
                'prm.msg_concession_credit_note_unique'))

    @fields.depends(
        'credit_note', 'party', 'company', 'currency', 'invoice', 'amount',
        '_parent_credit_note.party', '_parent_credit_note.company',
        '_parent_credit_note.currency', '_parent_credit_note.untaxed_amount',
        methods=['on_change_party', 'on_change_invoice'])
    def on_change_credit_note(self):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        note = self.credit_note
        if not note:
            return
        self.company = note.company
        self.party = note.party
        self.currency = note.currency
        self.amount = -note.untaxed_amount
        if not self.invoice:
            self.invoice = Invoice(note.id).get_credited_invoice()
        if self.invoice:
            self.on_change_invoice()
        else:
            self.on_change_party()

    @classmethod
    def _protected_fields(cls):
        return super()._protected_fields() | {'credit_note'}

    @classmethod
    def copy(cls, concessions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('credit_note', None)
        return super().copy(concessions, default=default)

    @classmethod
    def validate_fields(cls, concessions, field_names):
        super().validate_fields(concessions, field_names)
        cls.check_credit_note(concessions, field_names)

    @classmethod
    def check_credit_note(cls, concessions, field_names=None):
        pool = Pool()
        Result = pool.get('prm.concession-account.invoice')
        if field_names and not (field_names & {
                    'credit_note', 'party', 'currency', 'amount', 'kind'}):
            return
        concessions = [c for c in concessions if c.credit_note]
        for sub_concessions in grouped_slice(concessions, _SIZE):
            by_note = {c.credit_note: c for c in sub_concessions}
            for result in Result.search([
                        ('invoice', 'in', [n.id for n in by_note]),
                        ], order=[]):
                concession = by_note[result.invoice]
                if result.concession != concession:
                    raise ConcessionValidationError(gettext(
                            'prm.msg_concession_credit_note_result',
                            concession=concession.rec_name,
                            credit_note=result.invoice.rec_name,
                            other=result.concession.rec_name))
        for concession in concessions:
            note = concession.credit_note
            if (note.party != concession.party
                    or note.currency != concession.currency
                    or note.untaxed_amount != -concession.amount
                    or concession.kind not in cls._invoice_kinds()):
                lang = pool.get('ir.lang').get()
                raise ConcessionValidationError(gettext(
                        'prm.msg_concession_credit_note_differs',
                        concession=concession.rec_name,
                        credit_note=note.rec_name,
                        party=note.party.rec_name,
                        amount=lang.currency(
                            -note.untaxed_amount, note.currency)))

    @classmethod
    def _reserving(cls, invoices):
        # What exists counts as soon as it exists
        return [c for c in super()._reserving(invoices) if not c.credit_note]

    @fields.depends('credit_note')
    def on_change_with_invoice_remaining(self):
        remaining = super().on_change_with_invoice_remaining()
        if remaining is not None and self.credit_note and self.amount:
            remaining += self.amount
        return remaining

    @classmethod
    def _create_credit_notes(cls, concessions):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Result = pool.get('prm.concession-account.invoice')
        existing = {c: c.credit_note for c in concessions if c.credit_note}
        notes = super()._create_credit_notes(
            [c for c in concessions if c not in existing])
        if not existing:
            return notes
        cls.lock_invoices({c.invoice for c in existing if c.invoice})
        to_post = []
        for concession, note in existing.items():
            if note.state == 'cancelled':
                raise ConcessionGrantError(gettext(
                        'prm.msg_concession_credit_note_cancelled',
                        concession=concession.rec_name,
                        credit_note=note.rec_name))
            if note.state in {'draft', 'validated'}:
                if note.state == 'draft' and not note.invoice_date:
                    note.invoice_date = concession.date
                to_post.append(note)
        Invoice.save(to_post)
        with Transaction().set_context(_skip_warnings=True):
            Invoice.post(to_post)
        Result.create([{
                    'concession': concession.id,
                    'invoice': note.id,
                    } for concession, note in existing.items()])
        # A settled one needs nothing more
        return notes | existing
