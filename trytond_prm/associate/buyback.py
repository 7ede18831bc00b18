# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import logging
from collections import defaultdict
from decimal import Decimal
from itertools import chain

from sql import Literal, Null
from sql.aggregate import Count, Max, Min
from sql.conditionals import Case, Coalesce
from sql.functions import CharLength, CurrentTimestamp
from sql.operators import Exists

from trytond import backend
from trytond.exceptions import UserError
from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Unique, Workflow, fields
from trytond.model.exceptions import AccessError
from trytond.modules.account.exceptions import PeriodNotFoundError
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice, sqlite_apply_types
from trytond.transaction import Transaction, without_check_access

from ..model import ReadonlyMixin, WorkflowAccessMixin
from ..tools import savepoint, sql_reference
from . import schedule
from .document import store_prefix
from .exceptions import (
    BuybackAccountError, BuybackCancelError, BuybackOppositionWarning,
    BuybackScheduleError, BuybackTermsError, BuybackUserError)

_TERMS = {
    'company', 'party', 'buyer', 'share_class', 'quantity', 'from_number',
    'ranges', 'unit_price', 'price', 'currency', 'route', 'title_transfer',
    'signature_date', 'method', 'advance', 'number_of_instalments',
    'period_months', 'interest_rate', 'day_count', 'late_rate',
    'cure_days', 'duty'}
_SETTINGS = {
    'notice_date', 'announcement_date', 'approval_date', 'decision_date',
    'filing_date', 'opposition_end', 'effective_date', 'journal',
    'account_payable', 'account_debit', 'account_premium',
    'account_shortfall', 'account_shares', 'account_current', 'account_duty',
    'account_duty_payable'}

logger = logging.getLogger(__name__)


def _signed(**states):
    return {
        'readonly': ~Eval('state').in_(['draft', 'announced']), **states}


def _running(**states):
    return {
        'readonly': ~Eval('state').in_(['draft', 'announced', 'signed']),
        **states}


class Buyback(WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    __name__ = 'prm.buyback'
    __string__ = "Buyback"
    _rec_name = 'number'

    number = fields.Char("Number", readonly=True)
    company = fields.Many2One(
        'company.company', "Company", required=True, states=_signed())
    party = fields.Many2One(
        'party.party', "Associate", required=True, ondelete='RESTRICT',
        states=_signed(),
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The leaving associate who sells the shares.")
    buyer = fields.Many2One(
        'party.party', "Buyer", ondelete='RESTRICT',
        states=_signed(
            invisible=Eval('route') != 'third_party',
            required=Eval('route') == 'third_party'),
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The third party who buys the shares.\n"
        "Leave empty when the company buys them.")
    share_class = fields.Many2One(
        'prm.share.class', "Share Class", required=True, ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_signed())
    quantity = fields.Integer(
        "Quantity", required=True,
        domain=[
            ('quantity', '>', 0),
            ],
        states=_signed())
    from_number = fields.Integer(
        "From Number",
        states=_signed(
            invisible=~Eval('numbered'),
            required=(
                Eval('numbered', False)
                & ~Eval('state').in_(['draft', 'announced', 'cancelled']))),
        help="The number of the first share bought.")
    numbered = fields.Function(
        fields.Boolean("Numbered"), 'on_change_with_numbered')
    unit_price = Monetary(
        "Unit Price", currency='currency', digits=(16, 4), required=True,
        domain=[
            ('unit_price', '>=', 0),
            ],
        states=_signed(),
        help="The price negotiated for one share.")
    price = Monetary(
        "Price", currency='currency', digits='currency', readonly=True,
        help="The quantity multiplied by the unit price.")
    currency = fields.Many2One(
        'currency.currency', "Currency", required=True, states=_signed())
    separation = fields.Many2One(
        'prm.separation', "Separation", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ('party', '=', Eval('party', -1)),
            ],
        help="The file of the separation that the buyback belongs to.")
    leave_reason = fields.Selection([
            (None, ""),
            ('disagreement', "Disagreement"),
            ('resignation', "Resignation"),
            ('dismissal', "Dismissal"),
            ('retirement', "Retirement"),
            ('disability', "Disability"),
            ('death', "Death"),
            ('exclusion', "Exclusion"),
            ('other', "Other"),
            ], "Leave Reason", sort=False,
        help="The reason why the associate leaves.")
    route = fields.Selection([
            ('capital_reduction', "Capital Reduction"),
            ('company_purchase', "Purchase by the Company"),
            ('third_party', "Sale to a Third Party"),
            ], "Route", required=True, sort=False, states=_signed(),
        help="What happens to the shares: the company cancels them, "
        "the company keeps them or a third party buys them.")
    route_string = route.translated('route')
    title_transfer = fields.Selection([
            ('effective', "On Effective Date"),
            ('full_payment', "On Full Payment"),
            ], "Title Transfer", required=True, sort=False, states=_signed(),
        help="When the shares leave the associate.")
    notice_date = fields.Date(
        "Notice Date", states=_running(),
        help="The date on which the associate told that he leaves.")
    announcement_date = fields.Date(
        "Announcement Date",
        states=_running(required=Eval('state').in_(['announced', 'signed'])),
        help="The date from which the shares are reserved.")
    approval_date = fields.Date(
        "Approval Date", states=_running(),
        help="The date on which the associates agreed to the sale or refused "
        "another buyer.")
    signature_date = fields.Date(
        "Signature Date",
        states=_signed(
            required=~Eval('state').in_(['draft', 'announced', 'cancelled'])),
        help="The date from which the due dates and the interest count.")
    decision_date = fields.Date(
        "Decision Date", states=_running(),
        help="The date of the meeting that decides the buyback "
        "and of its accounting entry.\n"
        "Leave empty to use the signature date.")
    filing_date = fields.Date(
        "Filing Date",
        states=_running(invisible=Eval('route') != 'capital_reduction'),
        help="The date on which the decision was filed with the registry, "
        "from which the opposition of the creditors runs.")
    opposition_end = fields.Date(
        "End of Opposition",
        states=_running(invisible=Eval('route') != 'capital_reduction'),
        help="The last day on which creditors can oppose to the capital "
        "reduction. Nothing is due before the next day.")
    effective_date = fields.Date(
        "Effective Date",
        states=_running(invisible=Eval('title_transfer') != 'effective'),
        help="The date of the share transaction.\n"
        "Leave empty to use the decision date.")
    method = fields.Selection([
            ('constant_principal', "Constant Principal"),
            ('annuity', "Annuity"),
            ('bullet', "Bullet"),
            ('custom', "Custom"),
            ], "Method", required=True, sort=False, states=_signed(),
        help="How the principal is spread over the instalments.")
    method_string = method.translated('method')
    advance = Monetary(
        "Advance", currency='currency', digits='currency',
        domain=['OR',
            ('advance', '=', None),
            ('advance', '>=', 0),
            ],
        states=_signed(invisible=Eval('method') == 'custom'),
        help="The part of the price due at the signature.")
    number_of_instalments = fields.Integer(
        "Number of Instalments",
        domain=['OR',
            ('number_of_instalments', '=', None),
            ('number_of_instalments', '>', 0),
            ],
        states=_signed(
            invisible=Eval('method') == 'custom',
            required=Eval('method') != 'custom'))
    period_months = fields.Integer(
        "Period",
        domain=['OR',
            ('period_months', '=', None),
            ('period_months', '>', 0),
            ],
        states=_signed(
            invisible=Eval('method') == 'custom',
            required=Eval('method') != 'custom'),
        help="The number of months between two instalments.")
    interest_rate = fields.Numeric(
        "Interest Rate", digits=(None, 6),
        domain=['OR',
            ('interest_rate', '=', None),
            ('interest_rate', '>=', 0),
            ],
        states=_signed(),
        help="The rate per year of the interest on the outstanding "
        "principal.")
    day_count = fields.Selection([
            ('30e_360', "30E/360"),
            ('act_365', "Actual/365"),
            ('act_360', "Actual/360"),
            ], "Day Count", required=True, sort=False, states=_signed(),
        help="How the days of interest are counted in the year.")
    day_count_string = day_count.translated('day_count')
    late_rate = fields.Numeric(
        "Late Rate", digits=(None, 6),
        domain=['OR',
            ('late_rate', '=', None),
            ('late_rate', '>=', 0),
            ],
        states=_signed(),
        help="The rate per year of the interest on the overdue principal, "
        "instead of the interest rate.")
    cure_days = fields.Integer(
        "Cure Days",
        domain=['OR',
            ('cure_days', '=', None),
            ('cure_days', '>=', 0),
            ],
        states=_signed(),
        help="The number of days between the formal notice and the "
        "acceleration of all the instalments.")
    duty = fields.Many2One(
        'prm.buyback.duty', "Registration Duty", ondelete='RESTRICT',
        states=_signed(),
        help="The duty on the transfer of the shares.\n"
        "Leave empty when there is none.")
    duty_amount = fields.Function(Monetary(
            "Duty Amount", currency='company_currency',
            digits='company_currency',
            states={
                'invisible': ~Eval('duty'),
                }),
        'get_duty_amount')
    company_currency = fields.Function(fields.Many2One(
            'currency.currency', "Company Currency"),
        'on_change_with_company_currency')
    accelerated_on = fields.Date(
        "Accelerated on", readonly=True,
        states={
            'invisible': ~Eval('accelerated_on'),
            },
        help="The date on which all the instalments became due.")
    journal = fields.Many2One(
        'account.journal', "Journal", states=_running(),
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    account_payable = fields.Many2One(
        'account.account', "Payable Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type.payable', '=', True),
            ('reconcile', '=', True),
            ('party_required', '=', True),
            ('closed', '!=', True),
            ],
        states=_running(),
        help="The account of the debt to the associate.")
    account_debit = fields.Many2One(
        'account.account', "Debit Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states=_running(),
        help="The account debited with the nominal value of the cancelled "
        "shares or with the price of the purchased ones.")
    account_premium = fields.Many2One(
        'account.account', "Premium Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states=_running(invisible=Eval('route') != 'capital_reduction'),
        help="The account of the difference between the price and the "
        "nominal value of the cancelled shares.")
    account_shortfall = fields.Many2One(
        'account.account', "Shortfall Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states=_running(invisible=Eval('route') != 'capital_reduction'),
        help="The account credited with what the price lacks to the nominal "
        "value of the cancelled shares.\n"
        "Leave empty to use the premium account.")
    account_shares = fields.Many2One(
        'account.account', "Shares to Cancel Account",
        states=_running(invisible=Eval('route') != 'capital_reduction'),
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        help="The account through which the price passes before it is taken "
        "off the capital.\n"
        "Leave empty to debit the capital directly.")
    account_interest = fields.Many2One(
        'account.account', "Interest Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states={
            'readonly': Eval('state').in_(
                ['paid', 'cancelled', 'terminated']),
            },
        help="The expense account of the interest.")
    account_accrued = fields.Many2One(
        'account.account', "Accrued Interest Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        help="The account of the interest that runs at the end of a period.")
    account_current = fields.Many2One(
        'account.account', "Current Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states=_running(),
        help="The current account of the associate that its instalments "
        "repay.")
    account_duty = fields.Many2One(
        'account.account', "Duty Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states=_running(invisible=~Eval('duty')),
        help="The account debited with the registration duty.")
    account_duty_payable = fields.Many2One(
        'account.account', "Duty Payable Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states=_running(invisible=~Eval('duty')),
        help="The account of the debt of the registration duty.")
    account_waiver = fields.Many2One(
        'account.account', "Waiver Account",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('type', '!=', None),
            ('closed', '!=', True),
            ],
        states={
            'readonly': Eval('state').in_(
                ['paid', 'cancelled', 'terminated']),
            },
        help="The account credited with what the associate waives.")
    instalments = fields.One2Many(
        'prm.buyback.instalment', 'buyback', "Instalments",
        states={
            'readonly': (
                ~Eval('state').in_(['draft', 'announced'])
                & ~((Eval('route') == 'third_party')
                    & Eval('state').in_(['running', 'paid']))),
            })
    amendments = fields.One2Many(
        'prm.buyback.amendment', 'buyback', "Amendments",
        help="What changed since the signature.")
    document = fields.Binary(
        "Signed Document", filename='document_name',
        file_id='document_id', store_prefix=store_prefix,
        states={
            'readonly': (
                Bool(Eval('document_id'))
                & ~Eval('state').in_(['draft', 'announced'])),
            },
        help="The agreement that the parties signed.\n"
        "It does not change any more once the buyback is signed.")
    document_name = fields.Char(
        "Signed Document Name",
        states={
            'readonly': (
                Bool(Eval('document_id'))
                & ~Eval('state').in_(['draft', 'announced'])),
            })
    document_id = fields.Char("Signed Document ID", readonly=True)
    total_interest = fields.Function(Monetary(
            "Interest", currency='currency', digits='currency'),
        'get_total_interest')
    moves = fields.One2Many(
        'prm.buyback-account.move', 'buyback', "Account Moves",
        readonly=True)
    move = fields.Function(fields.Many2One(
            'account.move', "Move",
            states={
                'invisible': ~Eval('move'),
                },
            help="The entry that recognises the debt."),
        'get_move', searcher='search_move')
    additional_moves = fields.Function(fields.Many2Many(
            'account.move', None, None, "Additional Moves",
            states={
                'invisible': ~Eval('additional_moves'),
                },
            help="The other entries of the buyback: interest, reschedules, "
            "delegations and reversals."),
        'get_additional_moves', searcher='search_additional_moves')
    share_transactions = fields.One2Many(
        'prm.share.transaction', 'origin', "Share Transactions",
        readonly=True)
    amount_paid = fields.Function(Monetary(
            "Amount Paid", currency='currency', digits='currency'),
        'get_amounts')
    amount_due = fields.Function(Monetary(
            "Amount Due", currency='currency', digits='currency',
            help="What is owed and not yet on its way to be paid."),
        'get_amounts')
    reconciled = fields.Function(
        fields.Boolean("Reconciled"), 'get_reconciled')
    next_due_date = fields.Function(fields.Date("Next Due Date"),
        'get_next_due_date', searcher='search_next_due_date')
    signed_by = fields.Many2One(
        'res.user', "Signed by", readonly=True, ondelete='RESTRICT',
        states={
            'invisible': ~Eval('signed_by'),
            })
    run_by = fields.Many2One(
        'res.user', "Run by", readonly=True, ondelete='RESTRICT',
        states={
            'invisible': ~Eval('run_by'),
            })
    state = fields.Selection([
            ('draft', "Draft"),
            ('announced', "Announced"),
            ('signed', "Signed"),
            ('running', "Running"),
            ('paid', "Paid"),
            ('cancelled', "Cancelled"),
            ('terminated', "Terminated"),
            ], "State", readonly=True, required=True, sort=False)

    @classmethod
    def __setup__(cls):
        cls.number.search_unaccented = False
        super().__setup__()
        table = cls.__table__()
        cls._order = [('number', 'DESC'), ('id', 'DESC')]
        cls._sql_indexes.update({
                Index(table,
                    (CharLength(table.number), Index.Range(order='DESC')),
                    (table.number, Index.Range(order='DESC'))),
                Index(table,
                    (table.party, Index.Range()),
                    (table.share_class, Index.Range())),
                Index(table,
                    (table.state, Index.Equality(cardinality='low')),
                    where=table.state.in_([
                            'draft', 'announced', 'signed', 'running'])),
                })
        cls._transitions |= {
            ('draft', 'announced'),
            ('announced', 'signed'),
            ('signed', 'running'),
            ('running', 'paid'),
            ('paid', 'running'),
            ('draft', 'cancelled'),
            ('announced', 'cancelled'),
            ('signed', 'cancelled'),
            ('running', 'cancelled'),
            }
        cls._buttons.update({
                'cancel': {
                    'invisible': ~Eval('state').in_(
                        ['draft', 'announced', 'signed', 'running']),
                    'icon': 'tryton-cancel',
                    'depends': ['state'],
                    },
                'generate_schedule': {
                    'invisible': ~Eval('state').in_(['draft', 'announced']),
                    'icon': 'tryton-refresh',
                    'depends': ['state'],
                    },
                'announce': {
                    'invisible': Eval('state') != 'draft',
                    'icon': 'tryton-forward',
                    'depends': ['state'],
                    },
                'sign': {
                    'invisible': Eval('state') != 'announced',
                    'icon': 'tryton-ok',
                    'depends': ['state'],
                    },
                'run': {
                    'invisible': Eval('state') != 'signed',
                    'icon': 'tryton-launch',
                    'depends': ['state'],
                    },
                'confirm_payment': {
                    'invisible': (
                        (Eval('state') != 'running')
                        | (Eval('route') != 'third_party')),
                    'icon': 'tryton-ok',
                    'depends': ['state', 'route'],
                    },
                'process': {},
                })

    @classmethod
    def order_number(cls, tables):
        table, _ = tables[None]
        return [CharLength(table.number), table.number]

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_currency(cls):
        pool = Pool()
        Company = pool.get('company.company')
        if company := cls.default_company():
            return Company(company).currency.id

    @classmethod
    def default_route(cls):
        return 'capital_reduction'

    @classmethod
    def default_title_transfer(cls):
        return 'full_payment'

    @classmethod
    def default_method(cls):
        return 'constant_principal'

    @classmethod
    def default_number_of_instalments(cls):
        return 1

    @classmethod
    def default_period_months(cls):
        return 1

    @classmethod
    def default_day_count(cls):
        return '30e_360'

    @classmethod
    def default_state(cls):
        return 'draft'

    @classmethod
    def _default_setting(cls, name):
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        value = Configuration(1).get_multivalue(
            f'buyback_{name}', company=cls.default_company())
        return value.id if value else None

    @classmethod
    def default_journal(cls):
        return cls._default_setting('journal')

    @classmethod
    def default_account_payable(cls):
        return cls._default_setting('account_payable')

    @classmethod
    def default_account_debit(cls):
        return cls._default_setting('account_debit')

    @classmethod
    def default_account_shares(cls):
        return cls._default_setting('account_shares')

    @classmethod
    def default_account_premium(cls):
        return cls._default_setting('account_premium')

    @classmethod
    def default_account_shortfall(cls):
        return cls._default_setting('account_shortfall')

    @classmethod
    def default_account_interest(cls):
        return cls._default_setting('account_interest')

    @classmethod
    def default_account_accrued(cls):
        return cls._default_setting('account_accrued')

    @classmethod
    def default_account_current(cls):
        return cls._default_setting('account_current')

    @classmethod
    def default_account_duty(cls):
        return cls._default_setting('account_duty')

    @classmethod
    def default_account_duty_payable(cls):
        return cls._default_setting('account_duty_payable')

    @classmethod
    def default_account_waiver(cls):
        return cls._default_setting('account_waiver')

    @fields.depends('company')
    def on_change_with_company_currency(self, name=None):
        return self.company.currency if self.company else None

    @fields.depends('share_class')
    def on_change_with_numbered(self, name=None):
        return bool(self.share_class and self.share_class.numbered)

    @fields.depends('quantity', 'unit_price', 'currency')
    def on_change_with_price(self):
        if self.quantity is None or self.unit_price is None:
            return None
        price = self.quantity * self.unit_price
        return self.currency.round(price) if self.currency else price

    @fields.depends('route')
    def on_change_route(self):
        if self.route != 'third_party':
            self.buyer = None

    @fields.depends('signature_date', methods=['_opposition_missing'])
    def on_change_notify(self):
        notifications = super().on_change_notify()
        if self.signature_date and self._opposition_missing():
            notifications.append(
                ('warning', gettext('prm.msg_buyback_opposition_notify')))
        return notifications

    @fields.depends('route', 'opposition_end', 'state')
    def _opposition_missing(self):
        return (
            self.route == 'capital_reduction'
            and not self.opposition_end
            and self.state in {'draft', 'announced', 'signed'})

    @classmethod
    def get_total_interest(cls, buybacks, name):
        return {
            b.id: sum((i.interest or 0 for i in b.instalments), Decimal(0))
            for b in buybacks}

    @classmethod
    def get_move(cls, buybacks, name):
        moves = dict.fromkeys(map(int, buybacks))
        for buyback in buybacks:
            for link in buyback.moves:
                if link.kind == 'recognition':
                    moves[buyback.id] = link.move.id
        return moves

    @classmethod
    def search_move(cls, name, clause):
        nested = clause[0][len(name):]
        if (not nested and clause[2] is None
                and clause[1] in {'=', '!='}):
            operator = 'not where' if clause[1] == '=' else 'where'
            return [('moves', operator, [('kind', '=', 'recognition')])]
        return [('moves', 'where', [
                    ('kind', '=', 'recognition'),
                    (f'move{nested}', *clause[1:]),
                    ])]

    @classmethod
    def get_additional_moves(cls, buybacks, name):
        return {
            b.id: [
                m.move.id for m in b.moves if m.kind != 'recognition']
            for b in buybacks}

    @classmethod
    def search_additional_moves(cls, name, clause):
        nested = clause[0][len(name):]
        if (not nested and clause[2] is None
                and clause[1] in {'=', '!='}):
            operator = 'not where' if clause[1] == '=' else 'where'
            return [('moves', operator, [('kind', '!=', 'recognition')])]
        return [('moves', 'where', [
                    ('kind', '!=', 'recognition'),
                    (f'move{nested}', *clause[1:]),
                    ])]

    @classmethod
    def get_amounts(cls, buybacks, names):
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        ledgers = Instalment.get_ledgers(
            [b for b in buybacks if b.owed])
        paid, due = {}, {}
        for buyback in buybacks:
            ledger = [
                ledgers[i.id] for i in buyback.instalments
                if i.id in ledgers]
            zero = buyback.currency.round(Decimal(0))
            paid[buyback.id] = sum((l.paid for l in ledger), zero)
            due[buyback.id] = sum(
                (l.rest - l.processing for l in ledger), zero)
        result = {'amount_paid': paid, 'amount_due': due}
        return {name: result[name] for name in names}

    @classmethod
    def _next_due_dates(cls):
        "Return the SQL query of the date of the oldest open due of each"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        Line = pool.get('account.move.line')
        Portion = pool.get('prm.buyback.instalment.line')
        table = cls.__table__()
        instalment = Instalment.__table__()
        portion = Portion.__table__()
        line = Line.__table__()
        posted = Portion.__table__()

        missing = Literal(False)
        for nature in ['principal', 'interest']:
            amount = getattr(Instalment, nature).sql_cast(
                getattr(instalment, nature))
            missing |= ((amount > 0)
                & ~Exists(posted.select(
                        posted.id,
                        where=(posted.instalment == instalment.id)
                        & (posted.nature == nature))))
        return (table
            .join(instalment, condition=instalment.buyback == table.id)
            .join(portion, 'LEFT',
                condition=portion.instalment == instalment.id)
            .join(line, 'LEFT', condition=portion.line == line.id)
            .select(
                table.id.as_('buyback'),
                Min(Case(
                        ((line.id != Null) & (line.reconciliation == Null),
                            Coalesce(line.maturity_date,
                                instalment.due_date)),
                        else_=instalment.due_date)).as_('date'),
                where=table.state.in_(['signed', 'running'])
                & (instalment.confirmed_date == Null)
                & (((line.id != Null) & (line.reconciliation == Null))
                    | missing),
                group_by=[table.id]))

    @classmethod
    def get_reconciled(cls, buybacks, name):
        """Test if nothing is left to reconcile of what was posted

        What the payable lines were rescheduled or delegated to counts.
        """
        pool = Pool()
        Line = pool.get('account.move.line')
        Portion = pool.get('prm.buyback.instalment.line')
        portion = Portion.__table__()
        line = Line.__table__()
        Instalment = pool.get('prm.buyback.instalment')
        instalment = Instalment.__table__()
        cursor = Transaction().connection.cursor()
        result = dict.fromkeys(map(int, buybacks), False)
        for sub_ids in grouped_slice(list(result), 1000):
            cursor.execute(*instalment
                .join(portion, condition=portion.instalment == instalment.id)
                .join(line, condition=portion.line == line.id)
                .select(
                    instalment.buyback,
                    where=fields.SQL_OPERATORS['in'](
                        instalment.buyback, list(sub_ids)),
                    group_by=instalment.buyback,
                    having=Count(line.id) == Count(line.reconciliation)))
            result.update((id_, True) for id_, in cursor)
        for buyback in buybacks:
            if buyback.route == 'third_party' and buyback.owed:
                result[buyback.id] = all(
                    i.confirmed_date or not i.amount
                    for i in buyback.instalments)
        return result

    @classmethod
    def get_next_due_date(cls, buybacks, name):
        cursor = Transaction().connection.cursor()
        result = dict.fromkeys(map(int, buybacks))
        query = cls._next_due_dates()
        query.where &= fields.SQL_OPERATORS['in'](
            query.columns[0].expression, list(result))
        if backend.name == 'sqlite':
            sqlite_apply_types(query, [None, 'DATE'])
        cursor.execute(*query)
        result.update(cursor)
        return result

    @classmethod
    def search_next_due_date(cls, name, clause):
        _, operator, value = clause
        Operator = fields.SQL_OPERATORS[operator]
        query = cls._next_due_dates()
        if value is None and operator in {'=', '!='}:
            query = query.select(query.buyback)
            return [('id', 'not in' if operator == '=' else 'in', query)]
        query = query.select(
            query.buyback,
            where=Operator(query.date, cls.signature_date.sql_format(value)))
        return [('id', 'in', query)]

    @classmethod
    def read(cls, ids, fields_names):
        # The accountants see the name as origin of the entries that they may
        # read, which show the party anyway, but nothing else
        if (set(fields_names) <= {'id', 'rec_name'}
                and cls._is_origin(ids)):
            with without_check_access():
                return super().read(ids, fields_names)
        return super().read(ids, fields_names)

    @classmethod
    def _is_origin(cls, ids):
        "Test if the user may read an entry of each of the buybacks"
        pool = Pool()
        ModelAccess = pool.get('ir.model.access')
        Move = pool.get('account.move')
        if (not Transaction().check_access
                or ModelAccess.check(cls.__name__, 'read', False)
                or not ModelAccess.check('account.move', 'read', False)):
            return False
        ids = set(ids)
        origins = {
            m.origin.id for m in Move.search([
                    ('origin', 'in', [f'{cls.__name__},{i}' for i in ids]),
                    ])}
        return ids <= origins

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | {
            'signed_by', 'run_by', 'accelerated_on'}

    def get_rec_name(self, name):
        items = [self.number or f'({self.id})']
        if self.party:
            items.append(self.party.rec_name)
        return ' - '.join(items)

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, value = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('number', *clause[1:]),
            ('party.rec_name', *clause[1:]),
            ]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('//page[@id="accounting"]', 'states', {
                    'invisible': Eval('route') == 'third_party',
                    }),
            ('//page[@id="amendments"]', 'states', {
                    'invisible': Eval('state').in_(
                        ['draft', 'announced', 'signed']),
                    }),
            ('/tree', 'visual', If(
                    Eval('state').in_(['cancelled', 'paid', 'terminated']),
                    'muted', '')),
            ]

    @classmethod
    def create(cls, vlist):
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        vlist = [v.copy() for v in vlist]
        to_number = defaultdict(list)
        default_company = cls.default_company()
        for values in vlist:
            if not values.get('number'):
                to_number[values.get('company', default_company)].append(
                    values)
        configuration = Configuration(1)
        for company, unnumbered in to_number.items():
            sequence = configuration.get_multivalue(
                'buyback_sequence', company=company)
            if sequence:
                for values, number in zip(
                        unnumbered, sequence.get_many(len(unnumbered))):
                    values['number'] = number
        return super().create(vlist)

    @classmethod
    def preprocess_values(cls, mode, values):
        pool = Pool()
        Currency = pool.get('currency.currency')
        values = super().preprocess_values(mode, values)
        if (mode == 'create'
                and values.get('quantity') is not None
                and values.get('unit_price') is not None):
            currency = values.get('currency') or cls.default_currency()
            if currency:
                values['price'] = Currency(currency).round(
                    values['quantity'] * values['unit_price'])
        return values

    def compute_fields(self, field_names=None):
        values = super().compute_fields(field_names=field_names)
        if (field_names is None
                or field_names & {'quantity', 'unit_price', 'currency'}):
            price = self.on_change_with_price()
            if getattr(self, 'price', None) != price:
                values['price'] = price
        return values

    @classmethod
    def validate_fields(cls, buybacks, field_names):
        super().validate_fields(buybacks, field_names)
        cls.check_buyer(buybacks, field_names)

    @classmethod
    def check_buyer(cls, buybacks, field_names=None):
        "Raise when the associate buys from himself or the buyer is in excess"
        if field_names and not (field_names & {'party', 'buyer', 'route'}):
            return
        for buyback in buybacks:
            if buyback.buyer and buyback.buyer == buyback.party:
                raise BuybackTermsError(
                    gettext('prm.msg_buyback_buyer_party',
                        buyback=buyback.rec_name,
                        party=buyback.party.rec_name))
            if buyback.buyer and buyback.route != 'third_party':
                raise BuybackTermsError(
                    gettext('prm.msg_buyback_buyer_route',
                        buyback=buyback.rec_name))

    @classmethod
    def check_modification(cls, mode, buybacks, values=None, external=False):
        super().check_modification(
            mode, buybacks, values=values, external=external)
        if mode == 'delete':
            for buyback in buybacks:
                if buyback.state != 'draft':
                    raise AccessError(
                        gettext('prm.msg_buyback_delete',
                            buyback=buyback.rec_name))
        elif mode == 'write':
            names = values.keys() & (_TERMS | _SETTINGS)
            documents = values.keys() & {
                'document', 'document_name', 'document_id'}
            if (not (names or documents)
                    or Transaction().context.get('_buyback_amendment')):
                return
            for buyback in buybacks:
                if buyback.state in {'draft', 'announced'}:
                    continue
                forbidden = names & _TERMS
                if buyback.state != 'signed':
                    forbidden = set(names)
                if buyback.document_id:
                    forbidden |= documents
                if forbidden:
                    raise AccessError(
                        gettext('prm.msg_buyback_modify',
                            **cls.__names__(min(forbidden), buyback)))

    @classmethod
    def copy(cls, buybacks, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('number')
        default.setdefault('state', cls.default_state())
        default.setdefault('moves')
        default.setdefault('share_transactions')
        for name in [
                'notice_date', 'announcement_date', 'approval_date',
                'signature_date', 'decision_date', 'filing_date',
                'opposition_end', 'effective_date', 'instalments',
                'amendments', 'accelerated_on', 'signed_by', 'run_by',
                'document', 'document_name', 'document_id']:
            default.setdefault(name)
        return super().copy(buybacks, default=default)

    @classmethod
    def claim(cls, buybacks):
        """Let nobody else post entries of the buybacks

        The update makes a concurrent transaction that claims the same
        buybacks wait, and then restart with what this one posted.
        """
        table = cls.__table__()
        cursor = Transaction().connection.cursor()
        for sub_buybacks in grouped_slice(
                sorted(buybacks, key=lambda b: b.id), 1000):
            cursor.execute(*table.update(
                    [table.write_date], [CurrentTimestamp()],
                    where=fields.SQL_OPERATORS['in'](
                        table.id, [b.id for b in sub_buybacks])))

    @property
    def owed(self):
        "Whether the ledger tells what is owed"
        return self.state in {'running', 'paid', 'terminated'}

    @property
    def recognition_date(self):
        return self.decision_date or self.signature_date

    @property
    def transfer_date(self):
        return self.effective_date or self.recognition_date

    @classmethod
    @ModelView.button
    @Workflow.transition('cancelled')
    def cancel(cls, buybacks):
        running = [b for b in buybacks if b.state == 'running']
        if running:
            cls._check_unpaid(running)
            # The reconciliation of the reversal must not pay the buyback
            cls.write(buybacks, {'state': 'cancelled'})
            cls._reverse(running)

    @classmethod
    def _check_unpaid(cls, buybacks):
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        ledgers = Instalment.get_ledgers(buybacks)
        for buyback in buybacks:
            for instalment in buyback.instalments:
                ledger = ledgers.get(instalment.id)
                if ledger and (
                        ledger.paid or ledger.waived or ledger.processing):
                    raise BuybackCancelError(
                        gettext('prm.msg_buyback_cancel_paid',
                            buyback=buyback.rec_name,
                            instalment=instalment.rec_name))

    @classmethod
    def _reverse(cls, buybacks):
        "Reverse the entries and the share transactions of the buybacks"
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Period = pool.get('account.period')
        ShareTransaction = pool.get('prm.share.transaction')

        moves, links = [], []
        for buyback in buybacks:
            for link in buyback.moves:
                move = link.move
                date = move.date
                try:
                    period = Period.find(buyback.company, date=date)
                except PeriodNotFoundError:
                    date = cls._today(buyback.company)
                    period = Period.find(buyback.company, date=date)
                reversal = Move(
                    company=move.company, journal=move.journal,
                    period=period, date=date, origin=move)
                reversal.lines = [Line(
                        account=l.account, party=l.party, origin=l,
                        debit=l.credit, credit=l.debit,
                        second_currency=l.second_currency,
                        amount_second_currency=(
                            -l.amount_second_currency
                            if l.amount_second_currency is not None
                            else None))
                    for l in move.lines]
                moves.append(reversal)
                links.append((buyback, reversal))
        Move.save(moves)
        BuybackMove.create([{
                    'buyback': b.id,
                    'move': m.id,
                    'kind': 'reversal',
                    } for b, m in links])
        Move.post(moves)
        to_reconcile = defaultdict(list)
        for buyback in cls.browse(buybacks):
            for link in buyback.moves:
                for line in link.move.lines:
                    if line.account.reconcile and not line.reconciliation:
                        to_reconcile[
                            buyback, line.account, line.party].append(line)
        Line.reconcile(*to_reconcile.values())
        transactions = [
            t for t in ShareTransaction.browse([
                    t.id for b in buybacks for t in b.share_transactions])
            if t.state == 'posted' and t.kind != 'reversal'
            and not t.reversed_by]
        if transactions:
            ShareTransaction.create_reversals(
                list(reversed(transactions)),
                max(t.date for t in transactions))

    @classmethod
    def _today(cls, company):
        pool = Pool()
        Date = pool.get('ir.date')
        with Transaction().set_context(company=company.id):
            return Date.today()

    @classmethod
    @ModelView.button
    def generate_schedule(cls, buybacks):
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        to_delete, to_create, to_write = [], [], []
        for buyback in buybacks:
            if buyback.state not in {'draft', 'announced'}:
                raise AccessError(
                    gettext('prm.msg_buyback_modify',
                        **cls.__names__('instalments', buyback)))
            rows = [(r.due_date, r, None) for r in buyback._get_schedule()]
            for instalment in buyback.instalments:
                if instalment.in_price:
                    to_delete.append(instalment)
                else:
                    rows.append((instalment.due_date, None, instalment))
            outstanding = buyback.price
            # The sort is stable: the price comes first on the same date
            for sequence, (_, row, instalment) in enumerate(
                    sorted(rows, key=lambda r: r[0]), 1):
                if row:
                    outstanding = row.outstanding_after
                    to_create.append({
                            'buyback': buyback.id,
                            'sequence': sequence,
                            **row._asdict(),
                            })
                else:
                    to_write.extend(([instalment], {
                                'sequence': sequence,
                                'outstanding_after': outstanding,
                                }))
        Instalment.delete(to_delete)
        Instalment.create(to_create)
        if to_write:
            Instalment.write(*to_write)

    def _get_schedule(self):
        "Return the rows of the schedule"
        for name in ['signature_date', 'price']:
            if getattr(self, name) is None:
                raise BuybackTermsError(
                    gettext('prm.msg_buyback_missing',
                        **self.__names__(name, self)))
        round_ = self.currency.round
        rate = self.interest_rate or Decimal(0)
        if self.method == 'custom':
            return schedule.balance(
                self.signature_date,
                sorted(((i.kind, i.due_date, i.principal)
                        for i in self.instalments if i.in_price),
                    key=lambda i: i[1]),
                rate, self.day_count, round_, total=self.price)
        if (self.advance or 0) > self.price:
            raise BuybackTermsError(
                gettext('prm.msg_buyback_advance',
                    buyback=self.rec_name))
        return schedule.compute(
            self.price, self.number_of_instalments, self.period_months,
            self.signature_date, round_, method=self.method, rate=rate,
            day_count=self.day_count, advance=self.advance or Decimal(0))

    @classmethod
    @ModelView.button
    @Workflow.transition('announced')
    def announce(cls, buybacks):
        by_date = defaultdict(list)
        for buyback in buybacks:
            if not buyback.announcement_date:
                # An agreement already signed was announced before
                today = cls._today(buyback.company)
                date = min(today, buyback.signature_date or today)
                by_date[date].append(buyback)
        if by_date:
            cls.write(*chain.from_iterable(
                    (c_buybacks, {'announcement_date': date})
                    for date, c_buybacks in by_date.items()))
        cls.write(buybacks, {'state': 'announced'})
        cls.check_shares(buybacks)

    @classmethod
    def check_shares(cls, buybacks):
        "Raise when the associate has not the shares, less the reserved ones"
        pool = Pool()
        ShareClass = pool.get('prm.share.class')
        ShareTransaction = pool.get('prm.share.transaction')
        ShareClass.claim(list({b.share_class for b in buybacks}))
        ShareTransaction.check_holdings([
                (b, b.share_class, b.party, b.announcement_date, b.quantity)
                for b in buybacks])

    @classmethod
    @ModelView.button
    @Workflow.transition('signed')
    def sign(cls, buybacks):
        cls._check_schedule(buybacks)
        cls._warn_opposition(buybacks)
        cls.check_shares(buybacks)
        cls._complete_schedule(buybacks)
        cls.write(buybacks, {'signed_by': Transaction().user})

    @classmethod
    def _complete_schedule(cls, buybacks):
        "Number the instalments that were typed and set what they leave"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        to_write = []
        for buyback in buybacks:
            if all(
                    i.sequence is not None and i.outstanding_after is not None
                    for i in buyback.instalments):
                continue
            outstanding = buyback.price
            for sequence, instalment in enumerate(
                    sorted(buyback.instalments, key=lambda i: i.due_date), 1):
                if instalment.in_price:
                    outstanding -= instalment.principal
                to_write.extend(([instalment], {
                            'sequence': sequence,
                            'outstanding_after': outstanding,
                            }))
        if to_write:
            Instalment.write(*to_write)

    @classmethod
    def _check_schedule(cls, buybacks):
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        for buyback in buybacks:
            if not buyback.signature_date:
                raise BuybackTermsError(
                    gettext('prm.msg_buyback_missing',
                        **cls.__names__('signature_date', buyback)))
            amount = sum(
                (i.principal for i in buyback.instalments if i.in_price),
                Decimal(0))
            if not buyback.instalments or amount != buyback.price:
                raise BuybackScheduleError(
                    gettext('prm.msg_buyback_schedule_price',
                        buyback=buyback.rec_name,
                        amount=lang.currency(amount, buyback.currency),
                        price=lang.currency(
                            buyback.price, buyback.currency)))
            for instalment in buyback.instalments:
                buyback._check_early(instalment, instalment.due_date)
                buyback._check_opposition(instalment, instalment.due_date)

    @classmethod
    def _warn_opposition(cls, buybacks):
        "Warn when the opposition runs but its end is not known"
        pool = Pool()
        Lang = pool.get('ir.lang')
        Warning = pool.get('res.user.warning')
        missing = [
            b for b in buybacks
            if b.filing_date and b._opposition_missing()]
        if missing:
            key = Warning.format('opposition', missing)
            if Warning.check(key):
                raise BuybackOppositionWarning(
                    key, gettext('prm.msg_buyback_opposition_missing',
                        buyback=missing[0].rec_name,
                        date=Lang.get().strftime(missing[0].filing_date)))

    def _check_early(self, instalment, date):
        "Raise when the due date is before the signature"
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        if date < self.signature_date:
            raise BuybackScheduleError(
                gettext('prm.msg_buyback_schedule_early',
                    instalment=instalment.rec_name,
                    date=lang.strftime(date),
                    signature=lang.strftime(self.signature_date)))

    def _check_opposition(self, instalment, date):
        "Raise when the creditors can still oppose at the due date"
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        if (self.route == 'capital_reduction'
                and self.opposition_end
                and date <= self.opposition_end):
            raise BuybackScheduleError(
                gettext('prm.msg_buyback_schedule_opposition',
                    instalment=instalment.rec_name,
                    date=lang.strftime(date),
                    opposition=lang.strftime(self.opposition_end)))

    @classmethod
    @ModelView.button
    @Workflow.transition('running')
    def run(cls, buybacks):
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Move = pool.get('account.move')

        cls._check_users(buybacks)
        cls.claim(buybacks)
        cls._check_schedule(buybacks)
        cls._warn_opposition(buybacks)
        cls._check_accounts(buybacks)
        cls.check_shares(buybacks)
        moves = {}
        for buyback in buybacks:
            if move := buyback._get_recognition_move():
                moves[buyback] = move
        Move.save(list(moves.values()))
        BuybackMove.create([{
                    'buyback': b.id,
                    'move': m.id,
                    'kind': 'recognition',
                    } for b, m in moves.items()])
        cls._create_portions(list(moves.values()), 'principal')
        Move.post(list(moves.values()))
        cls.write(buybacks, {
                'state': 'running',
                'run_by': Transaction().user,
                })
        cls._block(buybacks)
        cls._transfer({
                b: b.transfer_date for b in buybacks
                if b.title_transfer == 'effective'})
        cls.__queue__.process(buybacks)

    @classmethod
    def _check_users(cls, buybacks):
        "Raise when the one who signed runs and the configuration forbids it"
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        configuration = Configuration(1)
        separate = {
            c: configuration.get_multivalue(
                'buyback_separate_users', company=c.id)
            for c in {b.company for b in buybacks}}
        for buyback in buybacks:
            if (separate[buyback.company]
                    and buyback.signed_by
                    and buyback.signed_by.id == Transaction().user):
                raise BuybackUserError(
                    gettext('prm.msg_buyback_run_user',
                        buyback=buyback.rec_name))

    @classmethod
    def _accounts_required(cls, buyback):
        "Yield the names of the fields that the entries need"
        if buyback.route == 'third_party':
            return
        yield from ['journal', 'account_payable', 'account_debit']
        if buyback.route == 'capital_reduction':
            yield 'account_premium'
        if any(
                i.principal and i.kind == 'current_account'
                for i in buyback.instalments):
            yield 'account_current'
        if buyback.duty_amount:
            yield from ['account_duty', 'account_duty_payable']
        if any(i.interest for i in buyback.instalments):
            yield 'account_interest'

    @classmethod
    def _check_accounts(cls, buybacks):
        for buyback in buybacks:
            for name in cls._accounts_required(buyback):
                buyback._check_account(name)

    def _check_account(self, name):
        "Raise when the field of the account is empty or its account closed"
        account = getattr(self, name)
        if not account:
            raise BuybackAccountError(
                gettext('prm.msg_buyback_account_missing',
                    **self.__names__(name, self)))
        elif getattr(account, 'closed', False):
            raise BuybackAccountError(
                gettext('prm.msg_buyback_account_closed',
                    account=account.rec_name,
                    **self.__names__(name, self)))

    def _convert(self, amount, date):
        "Return the amount in the currency of the company at the date"
        pool = Pool()
        Currency = pool.get('currency.currency')
        with Transaction().set_context(date=date):
            return Currency.compute(
                self.currency, amount, self.company.currency)

    def _get_payable_line(self, instalment, amount, company_amount):
        pool = Pool()
        Line = pool.get('account.move.line')
        line = Line(
            account=self.account_payable, party=self.party,
            origin=instalment, maturity_date=instalment.due_date,
            debit=Decimal(0), credit=company_amount)
        if self.currency != self.company.currency:
            line.second_currency = self.currency
            line.amount_second_currency = -amount
        return line

    def _get_line(self, account, amount):
        "Return the line that debits the account, or credits it if negative"
        pool = Pool()
        Line = pool.get('account.move.line')
        # The same names as the payable lines let them be inserted together
        return Line(
            account=account,
            party=self.party if account.party_required else None,
            origin=None, maturity_date=None,
            debit=max(amount, Decimal(0)), credit=max(-amount, Decimal(0)))

    def _get_move(self, date):
        pool = Pool()
        Move = pool.get('account.move')
        Period = pool.get('account.period')
        return Move(
            company=self.company, journal=self.journal, date=date,
            period=Period.find(self.company, date=date), origin=self)

    def _get_recognition_move(self):
        "Return the move that recognises the debt, or None if there is none"
        if self.route == 'third_party':
            return None
        date = self.recognition_date
        total = self._convert(self.price, date)
        instalments = [i for i in self.instalments if i.principal]
        last = [i for i in instalments if i.in_price][-1:]
        payables, rest, current = [], total, Decimal(0)
        for instalment in instalments:
            if [instalment] == last:
                amount = rest
            else:
                amount = self._convert(instalment.principal, date)
            if instalment.in_price:
                rest -= amount
            elif instalment.kind == 'current_account':
                current += amount
            else:
                total += amount
            payables.append(self._get_payable_line(
                    instalment, instalment.principal, amount))
        debits = self._get_debits(total, self.quantity)
        if self.route == 'capital_reduction' and self.account_shares:
            debits = [
                (self.account_shares, total), (self.account_shares, -total),
                *debits]
        duty = self.duty_amount or Decimal(0)
        debits += [
            (self.account_current, current),
            (self.account_duty, duty),
            (self.account_duty_payable, -duty),
            ]
        lines = [
            self._get_line(account, amount)
            for account, amount in debits if amount]
        if not lines + payables:
            return None
        move = self._get_move(date)
        move.lines = lines + payables
        return move

    def _get_debits(self, amount, quantity):
        "Return the amounts that the shares cost by account"
        if self.route != 'capital_reduction':
            return [(self.account_debit, amount)]
        par = self._get_par(self.recognition_date, quantity)
        return [
            (self.account_debit, par),
            (self._get_excess_account(), amount - par)]

    def _get_excess(self):
        "Return what the shares cost more than their nominal value"
        date = self.recognition_date
        cost = sum((
                i.principal for i in self.instalments
                if i.kind != 'current_account'), Decimal(0))
        return (
            self._convert(cost, date) - self._get_par(date, self.quantity))

    def _get_excess_account(self):
        if self.account_shortfall and self._get_excess() < 0:
            return self.account_shortfall
        return self.account_premium

    def _get_par(self, date, quantity):
        "Return the nominal value of the shares in the currency of the books"
        pool = Pool()
        Currency = pool.get('currency.currency')
        par = quantity * (self.share_class.nominal_value or Decimal(0))
        with Transaction().set_context(date=date):
            return Currency.compute(
                self.share_class.currency, par, self.company.currency)

    @classmethod
    def _create_portions(cls, moves, nature):
        "Link the payable lines of saved moves to their instalment"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        Line = pool.get('account.move.line')
        Portion = pool.get('prm.buyback.instalment.line')
        portions = []
        for sub_moves in grouped_slice(moves, 1000):
            for line in Line.search([
                        ('move', 'in', [m.id for m in sub_moves]),
                        ], order=[('id', 'ASC')]):
                if isinstance(line.origin, Instalment):
                    amount = line.credit
                    if line.second_currency:
                        amount = -line.amount_second_currency
                    portions.append({
                            'instalment': line.origin.id,
                            'line': line.id,
                            'nature': nature,
                            'amount': amount,
                            'interest_date': (
                                line.maturity_date
                                if nature == 'interest' else None),
                            })
        return Portion.create(portions)

    @classmethod
    def _block(cls, buybacks):
        "Block the payments until the end of the opposition"

    @classmethod
    def _transfer(cls, dates):
        "Post the share transactions of the buybacks at their date"
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        values = []
        for buyback, date in dates.items():
            values.extend(buyback._get_share_transactions(date))
        if values:
            ShareTransaction.post(ShareTransaction.create(values))

    def _get_share_transactions(self, date, quantity=None):
        "Return the values of the share transactions of the buyback"
        if quantity is None:
            quantity = self.quantity
        values = {
            'company': self.company.id,
            'date': date,
            'share_class': self.share_class.id,
            'quantity': quantity,
            'unit_price': self.unit_price,
            'party_from': None,
            'party_to': None,
            'origin': str(self),
            }
        if self.route == 'third_party':
            return [{
                    **values,
                    'kind': 'transfer',
                    'party_from': self.party.id,
                    'party_to': self.buyer.id,
                    }]
        transactions = [{
                **values,
                'kind': 'repurchase',
                'party_from': self.party.id,
                }]
        if self.route == 'capital_reduction':
            transactions.append({
                    **values,
                    'kind': 'cancellation',
                    })
        return transactions

    @classmethod
    def post_due_interest(cls, date=None):
        """Post the interest of the instalments due until the date

        The date is the one of the context or today. Each instalment has its
        entry at its due date, once whatever the number of calls.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        Instalment = pool.get('prm.buyback.instalment')
        context = Transaction().context

        if date is None:
            date = context.get('date') or Date.today()
        domain = [
            ('buyback.state', '=', 'running'),
            ('buyback.route', '!=', 'third_party'),
            ('due_date', '<=', date),
            ('interest', '>', 0),
            ('lines', 'not where', [('nature', '=', 'interest')]),
            ]
        if context.get('company'):
            domain.append(('buyback.company', '=', context['company']))
        instalments = Instalment.search(domain, order=[('due_date', 'ASC')])
        cls.claim({i.buyback for i in instalments})
        if errors := cls._post_possible_interest(instalments, date):
            cls._notify_errors(errors)

    @classmethod
    def _post_possible_interest(cls, instalments, today):
        """Post the interest of the instalments that have no error

        Return the first error of each buyback.
        """
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        if not instalments:
            return {}
        try:
            with savepoint():
                cls._post_interest(instalments, today)
        except UserError as error:
            if len(instalments) == 1:
                return {instalments[0].buyback: error}
        else:
            return {}
        # Look for the wrong ones without trying all of them one by one
        ids, errors = [i.id for i in instalments], {}
        half = len(ids) // 2
        for sub_ids in [ids[:half], ids[half:]]:
            for buyback, error in cls._post_possible_interest(
                    Instalment.browse(sub_ids), today).items():
                errors.setdefault(buyback, error)
        return errors

    @classmethod
    def _notify_errors(cls, errors):
        "Tell which interest can not be posted"
        for buyback, error in errors.items():
            logger.warning(
                "interest of %s not posted: %s", buyback.rec_name,
                error.message)

    @classmethod
    def _post_interest(cls, instalments, today):
        """Post the interest of the instalments at their due date

        Or today if the period of the due date is closed.
        """
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Move = pool.get('account.move')
        moves = []
        for instalment in instalments:
            buyback = instalment.buyback
            if buyback.route == 'third_party':
                continue
            moves.append(
                (buyback, buyback._get_interest_move(instalment, today)))
        Move.save([m for _, m in moves])
        BuybackMove.create([{
                    'buyback': b.id,
                    'move': m.id,
                    'kind': 'interest',
                    } for b, m in moves])
        cls._create_portions([m for _, m in moves], 'interest')
        Move.post([m for _, m in moves])

    def _get_interest_move(self, instalment, today):
        for name in ['account_interest', 'account_payable', 'journal']:
            self._check_account(name)
        try:
            move = self._get_move(instalment.due_date)
        except PeriodNotFoundError:
            move = self._get_move(today)
        amount = self._convert(instalment.interest, move.date)
        move.lines = [
            self._get_line(self.account_interest, amount),
            self._get_payable_line(instalment, instalment.interest, amount)]
        return move

    @classmethod
    @ModelView.button
    def confirm_payment(cls, buybacks):
        "Note that the third parties paid the next instalment today"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        by_date = defaultdict(list)
        for buyback in buybacks:
            if buyback.route != 'third_party' or buyback.state != 'running':
                continue
            for instalment in buyback.instalments:
                if instalment.amount and not instalment.confirmed_date:
                    by_date[cls._today(buyback.company)].append(instalment)
                    break
        if by_date:
            Instalment.write(*chain.from_iterable(
                    (instalments, {'confirmed_date': date})
                    for date, instalments in by_date.items()))

    @classmethod
    @ModelView.button
    def process(cls, buybacks):
        "Follow the payments: paid when all is settled, running otherwise"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        buybacks = [
            b for b in buybacks if b.state in {'running', 'paid'}]
        ledgers = Instalment.get_ledgers(buybacks)
        paid, reopened, transfers = [], [], {}
        for buyback in buybacks:
            settled = all(
                ledgers[i.id].is_settled(i) if i.id in ledgers
                else not i.amount
                for i in buyback.instalments)
            unknown = any(i.unknown for i in buyback.instalments)
            if settled and buyback.state == 'running':
                # The title follows the price, not what is still to be fixed
                if not unknown:
                    paid.append(buyback)
                if (buyback.title_transfer == 'full_payment'
                        and not buyback.transferred):
                    dates = [
                        l.date for i in buyback.instalments
                        if (l := ledgers.get(i.id)) and l.date]
                    transfers[buyback] = max(
                        dates, default=buyback.transfer_date)
            elif ((not settled or unknown)
                    and buyback.state == 'paid'):
                reopened.append(buyback)
        cls._paid(paid)
        cls._reopen(reopened)
        cls._transfer(transfers)

    @property
    def transferred(self):
        return any(
            t.state == 'posted' and t.kind != 'reversal'
            and not t.reversed_by
            for t in self.share_transactions)

    @classmethod
    @Workflow.transition('paid')
    def _paid(cls, buybacks):
        pass

    @classmethod
    @Workflow.transition('running')
    def _reopen(cls, buybacks):
        pass


class BuybackMove(ReadonlyMixin, ModelSQL):
    __name__ = 'prm.buyback-account.move'
    __string__ = "Buyback Move"

    buyback = fields.Many2One(
        'prm.buyback', "Buyback", required=True, ondelete='CASCADE')
    move = fields.Many2One(
        'account.move', "Move", required=True, ondelete='RESTRICT')
    kind = fields.Selection([
            ('recognition', "Recognition"),
            ('earn_out', "Earn-out"),
            ('interest', "Interest"),
            ('accrual', "Accrual"),
            ('reschedule', "Reschedule"),
            ('delegation', "Delegation"),
            ('waiver', "Waiver"),
            ('termination', "Termination"),
            ('reversal', "Reversal"),
            ], "Kind", required=True, sort=False)

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls.__access__.add('buyback')
        cls._sql_constraints += [
            ('buyback_move_unique',
                Unique(table, table.buyback, table.move),
                'prm.msg_buyback_move_unique'),
            ]


class Separation(metaclass=PoolMeta):
    __name__ = 'prm.separation'

    buybacks = fields.One2Many(
        'prm.buyback', 'separation', "Buybacks",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('party', '=', Eval('party', -1)),
            ])

    @classmethod
    def copy(cls, separations, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('buybacks')
        return super().copy(separations, default=default)


class ShareTransaction(metaclass=PoolMeta):
    __name__ = 'prm.share.transaction'

    @classmethod
    def _get_origin(cls):
        return super()._get_origin() + ['prm.buyback']

    @classmethod
    def _reserved_queries(cls):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        buyback = Buyback.__table__()
        transaction = cls.__table__()
        reversal = cls.__table__()
        origin = sql_reference('prm.buyback', buyback.id)
        reversals = reversal.select(
            reversal.origin.as_('origin'),
            Max(reversal.date).as_('date'),
            where=reversal.origin.like('prm.buyback,%')
            & (reversal.kind == 'reversal')
            & (reversal.state == 'posted'),
            group_by=reversal.origin)
        reversed_ = cls.__table__()
        # What was taken back is reserved again from then on
        return super()._reserved_queries() + [
            buyback
            .join(reversals, 'LEFT', condition=reversals.origin == origin)
            .select(
                buyback.share_class.as_('share_class'),
                buyback.party.as_('party'),
                Coalesce(reversals.date, buyback.announcement_date)
                .as_('date'),
                buyback.quantity.as_('quantity'),
                origin.as_('origin'),
                where=buyback.state.in_(['announced', 'signed', 'running'])
                & ~Exists(transaction.select(
                        transaction.id,
                        where=(transaction.origin == origin)
                        & (transaction.state == 'posted')
                        & (transaction.kind != 'reversal')
                        & ~transaction.id.in_(reversed_.select(
                                reversed_.reversal_of,
                                where=(reversed_.reversal_of != Null)
                                & (reversed_.state == 'posted'))))))]
