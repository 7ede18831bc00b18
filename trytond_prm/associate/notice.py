# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Date, Eval
from trytond.wizard import (
    Button, StateReport, StateTransition, StateView, Wizard)

from .document import DocumentMixin
from .exceptions import BuybackNoticeError


class Notice(DocumentMixin, ModelSQL, ModelView):
    __name__ = 'prm.buyback.notice'
    __string__ = "Formal Notice"

    cure_days = fields.Integer("Cure Days", required=True, readonly=True)
    cure_end = fields.Date(
        "End of Cure Delay", required=True, readonly=True,
        help="The date from which the buyback can be accelerated.")
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True,
        readonly=True,
        help="What was overdue at the date of the notice.")
    company = fields.Function(fields.Many2One(
            'company.company', "Company"),
        'on_change_with_company', searcher='search_buyback_field')
    party = fields.Function(fields.Many2One(
            'party.party', "Associate",
            context={
                'company': Eval('company', -1),
                },
            depends={'company'}),
        'on_change_with_party', searcher='search_buyback_field')

    @fields.depends('buyback', '_parent_buyback.company')
    def on_change_with_company(self, name=None):
        return self.buyback.company if self.buyback else None

    @fields.depends('buyback', '_parent_buyback.party')
    def on_change_with_party(self, name=None):
        return self.buyback.party if self.buyback else None

    @classmethod
    def search_buyback_field(cls, name, clause):
        return [(f'buyback.{clause[0]}', *clause[1:])]


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    notices = fields.One2Many(
        'prm.buyback.notice', 'buyback', "Formal Notices",
        states={
            'invisible': ~Eval('notices'),
            },
        help="The notices to pay what is overdue.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        default = (
            (Eval('state') != 'running')
            | (Eval('route') == 'third_party')
            | Bool(Eval('accelerated_on'))
            | ~(Eval('next_due_date', dt.date.max) < Date()))
        depends = [
            'state', 'route', 'accelerated_on', 'next_due_date', 'notices']
        cls._buttons.update({
                'give_notice_wizard': {
                    'invisible': default | Bool(Eval('notices')),
                    'icon': 'tryton-warning',
                    'depends': depends,
                    },
                'accelerate_wizard': {
                    'invisible': default | ~Bool(Eval('notices')),
                    'icon': 'tryton-forward',
                    'depends': depends,
                    },
                })

    @classmethod
    def copy(cls, buybacks, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('notices')
        return super().copy(buybacks, default=default)

    @classmethod
    @ModelView.button_action('prm.wizard_buyback_give_notice')
    def give_notice_wizard(cls, buybacks):
        pass

    @classmethod
    @ModelView.button_action('prm.wizard_buyback_accelerate')
    def accelerate_wizard(cls, buybacks):
        pass

    def _get_notice(self, date):
        "Return the formal notice of the date or None"
        for notice in self.notices:
            if notice.date == date:
                return notice

    def _get_overdue(self, date):
        "Return what is overdue at the date by instalment"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        self._check_amendable()
        ledgers = Instalment.get_ledgers([self])
        amounts = {}
        for instalment in self.instalments:
            ledger = ledgers.get(instalment.id)
            if (ledger and not ledger.is_settled(instalment)
                    and (ledger.due_date or instalment.due_date) < date):
                amounts[instalment] = ledger.get_remaining(instalment)
        self._check_overdue(amounts, date)
        return amounts

    def _get_notice_text(self, date):
        "Return the text of the notice in the language of the associate"
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = self.party.lang or Lang.get()
        amounts = self._get_overdue(date)
        cure_end = date + dt.timedelta(days=self.cure_days or 0)
        texts = [gettext('prm.msg_buyback_notice_text', lang.code,
                date=lang.strftime(date),
                cure_end=lang.strftime(cure_end),
                party=self.party.rec_name,
                company=self.company.party.rec_name,
                number=self.number,
                amount=lang.currency(
                    sum(amounts.values(), Decimal(0)), self.currency,
                    grouping=True))]
        for instalment, amount in amounts.items():
            texts.append(gettext('prm.msg_buyback_notice_due', lang.code,
                    sequence=instalment.sequence,
                    date=lang.strftime(instalment.due_date),
                    amount=lang.currency(
                        amount, self.currency, grouping=True)))
        return '\n'.join(texts)

    def give_notice(
            self, date, description=None, document=None, document_name=None):
        """Keep the formal notice to pay what is overdue at the date

        The cure delay starts at the date.
        """
        pool = Pool()
        Lang = pool.get('ir.lang')
        Notice = pool.get('prm.buyback.notice')
        self._check_not_accelerated()
        if date > self._today(self.company):
            raise BuybackNoticeError(
                gettext('prm.msg_buyback_notice_future',
                    buyback=self.rec_name,
                    date=Lang.get().strftime(date)))
        amounts = self._get_overdue(date)
        cure_days = self.cure_days or 0
        notice, = Notice.create([{
                    'buyback': self.id,
                    'date': date,
                    'cure_days': cure_days,
                    'cure_end': date + dt.timedelta(days=cure_days),
                    'amount': sum(amounts.values(), Decimal(0)),
                    'description': (
                        description or self._get_notice_text(date)),
                    'document': document,
                    'document_name': document_name,
                    }])
        return notice


class GiveNotice(Wizard):
    __name__ = 'prm.buyback.give_notice'
    __string__ = "Give Notice for Buyback"

    start = StateView(
        'prm.buyback.give_notice.start',
        'prm.buyback_give_notice_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Give Notice", 'give', 'tryton-ok', default=True),
            ])
    give = StateTransition()
    print_ = StateReport('prm.buyback.notice')

    def default_start(self, fields):
        buyback = self.record
        date = buyback._today(buyback.company)
        return {
            'buyback': buyback.id,
            'date': date,
            'cure_days': buyback.cure_days or 0,
            'description': buyback._get_notice_text(date),
            }

    def transition_give(self):
        start = self.start
        notice = self.record.give_notice(
            start.date, description=start.description,
            document=start.document, document_name=start.document_name)
        start.notice = notice
        return 'print_'

    def do_print_(self, action):
        notice = self.start.notice
        return action, {
            'model': 'prm.buyback.notice',
            'id': notice.id,
            'ids': [notice.id],
            }

    def transition_print_(self):
        return 'end'

    def end(self):
        return 'reload'


class GiveNoticeStart(ModelView):
    __name__ = 'prm.buyback.give_notice.start'
    __string__ = "Give Notice for Buyback"

    buyback = fields.Many2One('prm.buyback', "Buyback", readonly=True)
    date = fields.Date(
        "Date", required=True,
        help="The date of the formal notice, from which the cure delay runs.")
    cure_days = fields.Integer("Cure Days", readonly=True)
    cure_end = fields.Function(fields.Date(
            "End of Cure Delay",
            help="The date from which the buyback can be accelerated."),
        'on_change_with_cure_end')
    description = fields.Text("Description")
    document = fields.Binary(
        "Document", filename='document_name',
        help="The notice as it was sent.")
    document_name = fields.Char("Document Name")
    notice = fields.Many2One(
        'prm.buyback.notice', "Notice", readonly=True)

    @fields.depends('date', 'cure_days')
    def on_change_with_cure_end(self, name=None):
        if self.date:
            return self.date + dt.timedelta(days=self.cure_days or 0)

    @fields.depends('buyback', 'date', 'description')
    def on_change_date(self):
        if self.buyback and self.date:
            self.description = self.buyback._get_notice_text(self.date)
