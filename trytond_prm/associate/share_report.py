# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.pool import Pool
from trytond.pyson import Eval
from trytond.transaction import Transaction
from trytond.wizard import Button, StateReport, StateView, Wizard

from ..report import ContextReport, PartyReport
from .exceptions import ShareReportError


class SharePrintRegister(Wizard):
    __name__ = 'prm.share.register.print'
    __string__ = "Print Share Register"

    start = StateView(
        'prm.share.register.print.start',
        'prm.share_register_print_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Print", 'print_', 'tryton-print', default=True),
            ])
    print_ = StateReport('prm.share.register')

    def do_print_(self, action):
        return action, {
            'company': self.start.company.id,
            'start_date': self.start.start_date,
            'end_date': self.start.end_date,
            'language': self.start.language.code,
            }


class SharePrintRegisterStart(ModelView):
    __name__ = 'prm.share.register.print.start'
    __string__ = "Print Share Register"

    company = fields.Many2One('company.company', "Company", required=True)
    start_date = fields.Date(
        "From Date",
        domain=[
            ['OR',
                ('start_date', '=', None),
                ('start_date', '<=', Eval('end_date', None)),
                ],
            ],
        help="Leave empty to print the register from its first transaction.")
    end_date = fields.Date(
        "To Date", required=True,
        help="The date of the last transactions and of the holdings.")
    language = fields.Many2One(
        'ir.lang', "Language", required=True,
        domain=[
            ('translatable', '=', True),
            ])

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_end_date(cls):
        return Pool().get('ir.date').today()

    @classmethod
    def default_language(cls):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return Lang.get().id


class _ShareReport(ContextReport):

    @classmethod
    def get_context(cls, records, header, data):
        context = super().get_context(records, header, data)
        context['format_quantity'] = cls.format_quantity
        context['format_percentage'] = cls.format_percentage
        context['format_numbers'] = cls.format_numbers
        return context

    @classmethod
    def format_quantity(cls, quantity):
        return cls.format_number(quantity, None, digits=0)

    @classmethod
    def format_percentage(cls, ratio):
        return gettext(
            'prm.msg_share_percentage',
            percentage=cls.format_number(ratio * 100, None, digits=4))

    @classmethod
    def format_numbers(cls, first, last):
        if first is None or last is None:
            return ''
        return gettext('prm.msg_share_numbers', first=first, last=last)


class ShareRegister(_ShareReport):
    __name__ = 'prm.share.register'

    @classmethod
    def _get_execute_context(cls, records, header, data):
        return {
            'language': data['language'],
            'company': data['company'],
            'date': data['end_date'],
            }

    @classmethod
    def get_context(cls, records, header, data):
        pool = Pool()
        Company = pool.get('company.company')
        Holding = pool.get('prm.share.holding')
        ShareTransaction = pool.get('prm.share.transaction')
        context = super().get_context(records, header, data)

        context['company'] = Company(data['company'])
        domain = [
            ('company', '=', data['company']),
            ('state', '=', 'posted'),
            ('date', '<=', data['end_date']),
            ]
        if data.get('start_date'):
            domain.append(('date', '>=', data['start_date']))
        context['transactions'] = ShareTransaction.search(
            domain, order=[('date', 'ASC'), ('number', 'ASC')])
        context['holdings'] = Holding.search([
                ('company', '=', data['company']),
                ])
        return context


class ShareCertificate(PartyReport, _ShareReport):
    __name__ = 'prm.share.certificate'

    @classmethod
    def execute(cls, ids, data):
        if not ids:
            raise ShareReportError(
                gettext('prm.msg_share_certificate_empty'))
        return super().execute(ids, data)

    @classmethod
    def _get_records(cls, ids, model, data):
        # The rows of a party are on the same certificate
        return sorted(
            super()._get_records(ids, model, data),
            key=lambda r: (r.company.id, r.party.id, r.share_class.id))

    @classmethod
    def get_context(cls, records, header, data):
        pool = Pool()
        Date = pool.get('ir.date')
        ShareClass = pool.get('prm.share.class')
        context = super().get_context(records, header, data)
        today = Date.today()
        date = Transaction().context.get('date') or today
        context['today'] = today
        context['date'] = date
        context['company'] = header['company']
        context['party'] = header['party']
        held = ShareClass.get_held_numbers(
            [c for c in {r.share_class for r in records} if c.numbered], date)
        context['numbers'] = {
            r.id: held[r.share_class.id, r.party.id]
            for r in records if r.share_class.numbered}
        return context
