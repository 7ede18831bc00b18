# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.i18n import gettext
from trytond.model import ModelSQL, fields
from trytond.modules.company.model import CompanyValueMixin
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval

from .exceptions import ConcessionCancelError


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    concession_payment_journal = fields.MultiValue(fields.Many2One(
            'account.payment.journal', "Refund Payment Journal",
            domain=[
                ('company', 'in',
                    [Eval('context', {}).get('company', -1), None]),
                ],
            help="The journal of the payments made for the refunds.\n"
            "Leave empty to pay the refunds by hand."))

    @classmethod
    def multivalue_model(cls, field):
        pool = Pool()
        if field == 'concession_payment_journal':
            return pool.get('prm.configuration.concession_payment')
        return super().multivalue_model(field)


class ConfigurationConcessionPayment(ModelSQL, CompanyValueMixin):
    __name__ = 'prm.configuration.concession_payment'
    __string__ = "Commercial Gesture Payment Configuration"

    concession_payment_journal = fields.Many2One(
        'account.payment.journal', "Refund Payment Journal",
        ondelete='RESTRICT',
        domain=[
            ('company', 'in', [Eval('company', -1), None]),
            ])


class Payment(metaclass=PoolMeta):
    __name__ = 'account.payment'

    @classmethod
    def _get_origin(cls):
        return super()._get_origin() + ['prm.concession']


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    payments = fields.One2Many(
        'account.payment', 'origin', "Payments", readonly=True,
        states={
            'invisible': ~Eval('payments'),
            },
        help="The payments that give the money back.")

    @classmethod
    def copy(cls, concessions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('payments', None)
        return super().copy(concessions, default=default)

    @classmethod
    def _grant_refund(cls, concessions, notes):
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        Invoice = pool.get('account.invoice')
        Payment = pool.get('account.payment')
        super()._grant_refund(concessions, notes)
        configuration = Configuration(1)
        journals = {}
        for company in {c.company for c in concessions}:
            journals[company] = configuration.get_multivalue(
                'concession_payment_journal', company=company.id)
        concessions = [c for c in concessions if journals[c.company]]
        credit_notes = {
            n.id: n for n in Invoice.browse(
                [notes[c].id for c in concessions])}
        payments = []
        for concession in concessions:
            journal = journals[concession.company]
            if journal.currency != concession.currency:
                continue
            for line in credit_notes[notes[concession].id].lines_to_pay:
                if line.reconciliation or line.payment_kind != 'payable':
                    continue
                payments.append(Payment(
                        company=concession.company, journal=journal,
                        kind='payable', party=line.party,
                        amount=line.payment_amount, line=line,
                        date=concession.date, origin=concession))
        Payment.save(payments)

    @classmethod
    def _is_open(cls, note):
        return super()._is_open(note) and not any(
            p.state == 'succeeded'
            for l in note.lines_to_pay for p in l.payments)

    @classmethod
    def _check_take_back(cls, concessions):
        super()._check_take_back(concessions)
        for concession in concessions:
            for payment in concession.payments:
                if payment.state in {'submitted', 'approved', 'processing'}:
                    raise ConcessionCancelError(gettext(
                            'prm.msg_concession_cancel_payment',
                            concession=concession.rec_name,
                            payment=payment.rec_name))

    @classmethod
    def _take_back(cls, concessions):
        pool = Pool()
        Payment = pool.get('account.payment')
        cls._check_take_back(concessions)
        Payment.delete([
                p for c in concessions for p in c.payments
                if p.state == 'draft'])
        super()._take_back(concessions)
