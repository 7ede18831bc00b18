# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import ModelSQL, fields
from trytond.modules.company.model import CompanyValueMixin
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, Id


def _account(string, company, *domain, help=None):
    return fields.Many2One(
        'account.account', string,
        domain=[
            ('company', '=', company),
            ('closed', '!=', True),
            *domain,
            ],
        help=help)


_PAYABLE = [
    ('type.payable', '=', True),
    ('reconcile', '=', True),
    ('party_required', '=', True),
    ]
_ANY = [('type', '!=', None)]
_CONTEXT = Eval('context', {}).get('company', -1)
_VALUE = Eval('company', -1)


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    share_transaction_sequence = fields.MultiValue(fields.Many2One(
            'ir.sequence.strict', "Share Transaction Sequence", required=True,
            domain=[
                ('company', 'in',
                    [Eval('context', {}).get('company', -1), None]),
                ('sequence_type', '=',
                    Id('prm', 'sequence_type_share_transaction')),
                ],
            help="Numbers the transactions of the share register "
            "when they are posted."))

    buyback_sequence = fields.MultiValue(fields.Many2One(
            'ir.sequence', "Buyback Sequence", required=True,
            domain=[
                ('company', 'in',
                    [Eval('context', {}).get('company', -1), None]),
                ('sequence_type', '=', Id('prm', 'sequence_type_buyback')),
                ],
            help="Numbers the buybacks when they are created."))
    buyback_journal = fields.MultiValue(fields.Many2One(
            'account.journal', "Buyback Journal",
            context={
                'company': Eval('context', {}).get('company', -1),
                },
            help="The journal of the entries of the buybacks."))
    buyback_account_payable = fields.MultiValue(_account(
            "Buyback Payable Account", _CONTEXT, *_PAYABLE,
            help="The account of the debts to the leaving associates."))
    buyback_account_debit = fields.MultiValue(_account(
            "Buyback Debit Account", _CONTEXT, *_ANY,
            help="The account debited with the nominal value of the cancelled "
            "shares or with the price of the purchased ones."))
    buyback_account_premium = fields.MultiValue(_account(
            "Buyback Premium Account", _CONTEXT, *_ANY,
            help="The account of the difference between the price and the "
            "nominal value of the cancelled shares."))
    buyback_account_shortfall = fields.MultiValue(_account(
            "Buyback Shortfall Account", _CONTEXT, *_ANY,
            help="The account credited with what the price lacks to the "
            "nominal value of the cancelled shares.\n"
            "Leave empty to use the premium account."))
    buyback_account_shares = fields.MultiValue(_account(
            "Buyback Shares to Cancel Account", _CONTEXT, *_ANY,
            help="The account through which the price of the shares passes "
            "before it is taken off the capital.\n"
            "Leave empty to debit the capital directly."))
    buyback_account_interest = fields.MultiValue(_account(
            "Buyback Interest Account", _CONTEXT, *_ANY,
            help="The expense account of the interest."))

    buyback_account_waiver = fields.MultiValue(_account(
            "Buyback Waiver Account", _CONTEXT, *_ANY,
            help="The account credited with what the associates waive."))

    buyback_account_accrued = fields.MultiValue(_account(
            "Buyback Accrued Interest Account", _CONTEXT, *_ANY,
            help="The account of the interest that runs at the end of a "
            "period."))
    buyback_account_current = fields.MultiValue(_account(
            "Buyback Current Account", _CONTEXT, *_ANY,
            help="The current accounts of the associates that the buybacks "
            "repay."))
    buyback_account_duty = fields.MultiValue(_account(
            "Buyback Duty Account", _CONTEXT, *_ANY,
            help="The account debited with the registration duty."))
    buyback_account_duty_payable = fields.MultiValue(_account(
            "Buyback Duty Payable Account", _CONTEXT, *_ANY,
            help="The account of the debt of the registration duty."))
    buyback_separate_users = fields.MultiValue(fields.Boolean(
            "Separate Users of Buybacks",
            help="Check to forbid the one who signs a buyback to run it."))
    buyback_remind_days = fields.MultiValue(fields.Integer(
            "Buyback Reminder", required=True,
            domain=[
                ('buyback_remind_days', '>=', 0),
                ],
            help="The number of days before the due date of an instalment "
            "to remind it."))
    buyback_alert_days = fields.MultiValue(fields.Integer(
            "Buyback Alert", required=True,
            domain=[
                ('buyback_alert_days', '>=', 0),
                ],
            help="The number of days after the due date of an instalment "
            "to alert that it is overdue."))

    @classmethod
    def multivalue_model(cls, field):
        pool = Pool()
        if field.startswith('buyback_') and field != 'buyback_sequence':
            return pool.get('prm.configuration.buyback')
        return super().multivalue_model(field)

    @classmethod
    def default_buyback_remind_days(cls, **pattern):
        return cls.multivalue_model(
            'buyback_remind_days').default_buyback_remind_days()

    @classmethod
    def default_buyback_alert_days(cls, **pattern):
        return cls.multivalue_model(
            'buyback_alert_days').default_buyback_alert_days()

    @classmethod
    def default_buyback_separate_users(cls, **pattern):
        return cls.multivalue_model(
            'buyback_separate_users').default_buyback_separate_users()

    @classmethod
    def default_buyback_sequence(cls, **pattern):
        return cls.multivalue_model(
            'buyback_sequence').default_buyback_sequence()

    @classmethod
    def default_share_transaction_sequence(cls, **pattern):
        return cls.multivalue_model(
            'share_transaction_sequence').default_share_transaction_sequence()


class ConfigurationSequence(metaclass=PoolMeta):
    __name__ = 'prm.configuration.sequence'

    buyback_sequence = fields.Many2One(
        'ir.sequence', "Buyback Sequence", required=True,
        domain=[
            ('company', 'in', [Eval('company', -1), None]),
            ('sequence_type', '=', Id('prm', 'sequence_type_buyback')),
            ])

    share_transaction_sequence = fields.Many2One(
        'ir.sequence.strict', "Share Transaction Sequence", required=True,
        domain=[
            ('company', 'in', [Eval('company', -1), None]),
            ('sequence_type', '=',
                Id('prm', 'sequence_type_share_transaction')),
            ])

    @classmethod
    def default_share_transaction_sequence(cls):
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        try:
            return ModelData.get_id('prm', 'sequence_share_transaction')
        except KeyError:
            return None

    @classmethod
    def default_buyback_sequence(cls):
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        try:
            return ModelData.get_id('prm', 'sequence_buyback')
        except KeyError:
            return None


class ConfigurationBuyback(ModelSQL, CompanyValueMixin):
    __name__ = 'prm.configuration.buyback'
    __string__ = "Partner Relationship Configuration Buyback"

    buyback_journal = fields.Many2One(
        'account.journal', "Buyback Journal",
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    buyback_account_payable = _account(
        "Buyback Payable Account", _VALUE, *_PAYABLE)
    buyback_account_debit = _account(
        "Buyback Debit Account", _VALUE, *_ANY)
    buyback_account_premium = _account(
        "Buyback Premium Account", _VALUE, *_ANY)
    buyback_account_shortfall = _account(
        "Buyback Shortfall Account", _VALUE, *_ANY)
    buyback_account_shares = _account(
        "Buyback Shares to Cancel Account", _VALUE, *_ANY)
    buyback_account_interest = _account(
        "Buyback Interest Account", _VALUE, *_ANY)
    buyback_account_waiver = _account(
        "Buyback Waiver Account", _VALUE, *_ANY)
    buyback_account_accrued = _account(
        "Buyback Accrued Interest Account", _VALUE, *_ANY)
    buyback_account_current = _account(
        "Buyback Current Account", _VALUE, *_ANY)
    buyback_account_duty = _account(
        "Buyback Duty Account", _VALUE, *_ANY)
    buyback_account_duty_payable = _account(
        "Buyback Duty Payable Account", _VALUE, *_ANY)
    buyback_separate_users = fields.Boolean("Separate Users of Buybacks")
    buyback_remind_days = fields.Integer(
        "Buyback Reminder", required=True,
        domain=[
            ('buyback_remind_days', '>=', 0),
            ])
    buyback_alert_days = fields.Integer(
        "Buyback Alert", required=True,
        domain=[
            ('buyback_alert_days', '>=', 0),
            ])

    @classmethod
    def default_buyback_separate_users(cls):
        return False

    @classmethod
    def default_buyback_remind_days(cls):
        return 7

    @classmethod
    def default_buyback_alert_days(cls):
        return 1
